"""Jinja2's sandbox with a budget. Only :mod:`edgekit.runtime.chat` imports this: it needs Jinja2."""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from string import Formatter
from typing import Any, Final

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_SECONDS: Final = 5.0  # for a template that finds an expensive step; usual ones take milliseconds
MIN_STEPS: Final = 200_000
STEPS_PER_CHARACTER: Final = 50
MIN_SIZE: Final = 1024 * 1024
SIZE_PER_CHARACTER: Final = 8
MAX_NUMBER: Final = 100_000  # as an argument: widths, counts, repetitions
MAX_BITS: Final = 4096

_WIDE_PERCENT: Final = re.compile(r"%(?:\([^)]*\))?[^a-zA-Z%]*(?:\d{4}|\*)")
_WIDE: Final = re.compile(r"\d{4}|\{")  # a width of thousands, or one that is an argument


class Exhausted(Exception):  # noqa: N818 - what is raised is the budget's end
    """The budget is used up."""


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of ``transformers``' chat templates, bounded.

    Args:
        strftime_now: The current local time in a pattern.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, *, strftime_now: Callable[[str], str]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # nothing runs before there is a budget
            extensions=[_Generation, loopcontrols],
            finalize=self._weighed,
        )
        self._local = threading.local()
        self.filters["tojson"] = _to_json
        self.filters["join"] = self._join
        self.filters["string"] = str
        for name, function in list(self.filters.items()):
            self.filters[name] = self._bounded(function)
        self.filters[_COUNTED] = self._counted
        self.filters[_CONCATENATED] = self.concat
        self.filters[_SLICED] = self._made
        del self.globals["lipsum"]  # random text has no place in a prompt
        self.globals["raise_exception"] = _raise
        self.globals["strftime_now"] = strftime_now
        self.globals["dict"] = _Dict()
        self.globals["namespace"] = _Namespace

    def compile_template(self, source: str) -> Template:
        """Compile a template, its loops counted."""
        return self.from_string(_Counting().visit(self.parse(source)))

    def render_template(self, template: Template, given: Mapping[str, Any]) -> str:
        """Render it under a fresh budget.

        Raises:
            Exhausted: The budget is used up.
        """
        self._local.budget = _Budget(_weight(dict(given), 2**62))
        try:
            return template.render(given)
        finally:
            del self._local.budget

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a block gave; Jinja2 calls this for every block, macro and the whole."""
        kept, size = [], 0
        for part in parts:
            text = part if isinstance(part, str) else str(self._weighed(part))
            size += len(text)
            self._budget.check_size(size)
            kept.append(text)
        self._budget.spend(len(kept) + size // _SIZE_OF_STEP)
        return "".join(kept)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic whose result cannot be huge."""
        size = _size_of(operator, left, right)
        self._budget.check_size(size)
        self._budget.spend(1 + size // _SIZE_OF_STEP)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Every call a template makes."""
        owner = getattr(function, "__self__", None)
        self._check_call(owner, getattr(function, "__name__", ""), [*arguments, *named.values()])
        if isinstance(owner, str) and function.__name__ == "join" and len(arguments) == 1 and not named:
            return self._join(arguments[0], owner)
        return self._made(super().call(context, function, *arguments, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format``, without widths that blow up."""
        owner = getattr(value, "__self__", None)
        if isinstance(owner, str) and value.__name__ in ("format", "format_map") and _is_wide(owner):
            raise Exhausted("a format with a width")
        return super().wrap_str_format(value)

    def _check_call(self, owner: Any, name: str, arguments: list[Any]) -> None:
        self._budget.spend(1 + sum(_length(value) for value in (owner, *arguments)) // _SIZE_OF_STEP)
        if any(isinstance(value, int) and abs(value) > MAX_NUMBER for value in arguments):
            raise Exhausted(f"a number over {MAX_NUMBER} as an argument")
        if not isinstance(owner, str):
            return
        if name == "format" and _WIDE_PERCENT.search(owner):  # the filter; the method has wrap_str_format
            raise Exhausted("a format with a width")
        if name == "replace" and len(arguments) >= 2 and all(isinstance(value, str) for value in arguments[:2]):
            self._budget.check_size(len(owner) + owner.count(arguments[0]) * len(arguments[1]))
        if name == "expandtabs":
            self._budget.check_size(len(owner) * max([8, *(value for value in arguments if isinstance(value, int))]))

    def _bounded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # wraps() keeps the mark by which Jinja2 knows what to hand a filter first.
        skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def bounded(*arguments: Any, **named: Any) -> Any:
            given = [*arguments[skipped:], *named.values()]
            owner = given[0] if given and isinstance(given[0], str) else None
            self._check_call(owner, function.__name__.removeprefix("do_"), given[1:])
            for value in given:
                self._weighed(value)
            return self._made(function(*arguments, **named))

        return bounded

    def _join(self, items: Iterable[Any], separator: str = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            items = (self.getitem(item, attribute) for item in items)
        kept: list[str] = []
        for item in items:
            kept += [separator, item if isinstance(item, str) else str(self._weighed(item))]
            self._budget.spend(1)
        return self.concat(kept[1:])

    def _counted(self, items: Iterable[Any]) -> _Counted:
        return _Counted(items, self._budget)

    def _weighed(self, value: Any) -> Any:
        self._budget.check_size(_weight(value, self._budget.size))
        return value

    def _made(self, value: Any) -> Any:
        weight = _weight(value, self._budget.size)
        self._budget.check_size(weight)
        self._budget.spend(weight // _SIZE_OF_STEP)
        return value

    @property
    def _budget(self) -> _Budget:
        budget: _Budget = self._local.budget
        return budget


class _Budget:
    """What one rendering may use."""

    def __init__(self, given: int) -> None:
        self.size = MIN_SIZE + SIZE_PER_CHARACTER * given
        self._steps = MIN_STEPS + STEPS_PER_CHARACTER * given
        self._deadline = time.monotonic() + MAX_SECONDS

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Exhausted("too many steps")
        if time.monotonic() > self._deadline:
            raise Exhausted(f"longer than {MAX_SECONDS:g} seconds")

    def check_size(self, size: int) -> None:
        if size > self.size:
            raise Exhausted(f"a value of more than {self.size} characters")


class _Counted:
    """Something to loop over, each step of it counted."""

    def __init__(self, items: Any, budget: _Budget) -> None:
        self._items = items
        self._budget = budget

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._budget.spend(1)
            yield item


class _Counting(NodeTransformer):
    """Puts the counters where Jinja2 has no hook: into loops, slices and the ``~`` operator."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the name jinja2 looks for
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - the name jinja2 looks for
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        return nodes.Filter(node, _SLICED, [], [], None, None, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the name jinja2 looks for
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), _CONCATENATED, [], [], None, None, lineno=node.lineno)


class _Generation(Extension):
    """``{% generation %}`` marks the model's own words for training; here it only gives its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """``dict`` without the type's own attributes."""

    def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
        return dict(*arguments, **named)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _Namespace(Namespace):
    """``namespace`` without a way to reach the object's own attributes."""

    def __init__(self, /, *arguments: Any, **named: Any) -> None:
        given = dict(*arguments, **named)
        for name in given:
            _check_name(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


_COUNTED: Final = "edgekit counted"  # no template can write a name with a space
_CONCATENATED: Final = "edgekit concatenated"
_SLICED: Final = "edgekit sliced"
_SIZE_OF_STEP: Final = 16  # characters or items handled that count as a step


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no attribute {name!r}")


def _raise(message: Any) -> None:
    raise TemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates may call it by position
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - templates may call it by position
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _is_wide(pattern: str) -> bool:
    return any(_WIDE.search(spec) for _, _, spec, _ in Formatter().parse(pattern) if spec)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict | range) else 0


def _size_of(operator: str, left: Any, right: Any) -> int:
    """At least how large a result will be, in characters or items; numbers count as endless beyond MAX_BITS."""
    if operator == "+":
        return _length(left) + _length(right)
    if operator == "%":
        return 2**62 if isinstance(left, str) and _WIDE_PERCENT.search(left) else 0
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * (max(right, 0) if operator == "**" else 1) + right.bit_length()
        return 2**62 if bits > MAX_BITS else 0
    times, repeated = (left, right) if isinstance(left, int) else (right, left)
    return _length(repeated) * max(times, 0) if isinstance(times, int) else 0


def _weight(value: Any, enough: int) -> int:
    """Characters and items in a value, counted no further than ``enough``."""
    weight, rest = 0, [value]
    while rest and weight <= enough:
        item = rest.pop()
        weight += 1
        if isinstance(item, str):
            weight += len(item)
        elif isinstance(item, Mapping):
            rest += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            rest += item
        elif isinstance(item, Namespace):
            weight += 1
    return weight
