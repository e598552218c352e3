"""Strict reading of JSON and TOML records.

A :class:`Table` hands out typed values, remembers the key path for its errors, and refuses keys
nobody asked for (with the nearest known name), so a typo is an error and never a default.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgekit.errors import HostError, RecordError

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
MAX_JSON_VALUES: Final = 1 << 20
MAX_DEPTH: Final = 32
# A string of JSON, or what starts like one: to its end, or to the data's, and never looked at twice.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_OPEN_AND_CLOSE: Final = bytes.maketrans(b"[{]}", b"(())")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))
_OPEN: Final = ord("(")
_MOST_NAMES: Final = 4096  # among which to look for the nearest
_MOST_SHOWN: Final = 100  # characters of a key
_LARGEST_DOUBLE: Final = int(sys.float_info.max)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def parse_json(data: bytes, name: str, *, max_bytes: int = MAX_JSON_BYTES, max_values: int = MAX_JSON_VALUES) -> Table:
    """Parse a JSON object as strictly as RFC 8259 allows, and a little more.

    Refused: over ``max_bytes`` or ``max_values``, a byte-order mark, invalid UTF-8, duplicate keys, NaN and
    infinities, nesting deeper than :data:`MAX_DEPTH`, lone surrogates, anything but an object on top.

    Args:
        data: The file's bytes.
        name: What to call it in errors, usually the file's name.
        max_bytes: Upper limit of ``len(data)``.
        max_values: How many commas there may be outside texts: a byte or two can become an object of sixty.

    Raises:
        RecordError: The data is not such an object.
        HostError: There is not enough memory for it.
    """
    if len(data) > max_bytes:
        raise RecordError(f"{name}: {len(data)} bytes is over the limit of {max_bytes}")
    if data.startswith(b"\xef\xbb\xbf"):
        raise RecordError(f"{name}: starts with a byte-order mark")
    outside = _STRING.sub(b"", data)  # what is not in texts
    if outside.count(b",") > max_values:
        raise RecordError(f"{name}: over the limit of {max_values} values")
    _refuse_deep_nesting(outside, name)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _unique(pairs, name),
            parse_constant=lambda text: _refuse_constant(text, name),
            parse_float=lambda text: _finite(text, name),
        )
    except UnicodeDecodeError as error:
        raise RecordError(f"{name}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:  # JSONDecodeError, and int() refusing thousands of digits
        raise RecordError(f"{name}: not JSON: {error}") from error
    except MemoryError as error:
        raise HostError(f"{name}: there is no memory to read its {len(data)} bytes", hint="free some") from error
    if not isinstance(value, dict):
        raise RecordError(f"{name}: expected an object, found {_kind(value)}")
    if re.search(rb"\\u[dD][89a-fA-F]", data):
        _refuse_lone_surrogates(value, name)
    return Table(value, name)


def parse_toml(text: str, name: str) -> Table:
    """Parse a TOML document.

    Raises:
        RecordError: The text is not TOML.
    """
    import tomllib  # only the build side reads TOML

    try:
        return Table(tomllib.loads(text), name)
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"{name}: not TOML: {error}") from error


class Table:
    """A mapping that is read key by key, each with its type, and then closed with :meth:`done`."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self.path = path
        self._values = values
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def string(self, key: str, *, choices: tuple[str, ...] = (), max_length: int = 4096) -> str:
        """A string, without lone surrogates, at most ``max_length`` characters, one of ``choices`` if given."""
        value = self._take(key)
        if not isinstance(value, str):
            raise self.error(key, f"expected a string, found {_kind(value)}")
        if len(value) > max_length:
            raise self.error(key, f"longer than {max_length} characters")
        if _LONE_SURROGATE.search(value):
            raise self.error(key, "holds a lone surrogate")
        if choices and value not in choices:
            raise RecordError(
                f"{self.path}: {key}: {value!r} is not one of {', '.join(choices)}",
                hint=nearest(value, choices),
            )
        return value

    def integer(self, key: str, *, minimum: int = 0, maximum: int = 2**53) -> int:
        """An integer (no float, no bool) within bounds."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"expected an integer, found {_kind(value)}")
        if not minimum <= value <= maximum:
            raise self.error(key, f"{value} is outside {minimum}..{maximum}")
        return value

    def number(self, key: str, *, minimum: float = -math.inf, maximum: float = math.inf) -> float:
        """A finite number within bounds."""
        value = self._take(key)
        # JSON's integers have no upper end, and isfinite() raises on one that fits no double.
        too_large = isinstance(value, int) and abs(value) > _LARGEST_DOUBLE
        if isinstance(value, bool) or not isinstance(value, int | float) or too_large or not math.isfinite(value):
            raise self.error(key, f"expected a finite number, found {_kind(value)}")
        if not minimum <= value <= maximum:
            raise self.error(key, f"{value} is outside {minimum}..{maximum}")
        return float(value)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self.error(key, f"expected true or false, found {_kind(value)}")
        return value

    def strings(self, key: str, *, max_items: int = 1024) -> tuple[str, ...]:
        """A list of strings."""
        values = self._list(key, max_items)
        items = Table({str(i): value for i, value in enumerate(values)}, f"{self.path}: {key}")
        return tuple(items.string(str(i)) for i in range(len(values)))

    def integers(self, key: str, *, minimum: int = 0, maximum: int = 2**53, max_items: int = 1024) -> tuple[int, ...]:
        """A list of integers within bounds."""
        values = self._list(key, max_items)
        items = Table({str(i): value for i, value in enumerate(values)}, f"{self.path}: {key}")
        return tuple(items.integer(str(i), minimum=minimum, maximum=maximum) for i in range(len(values)))

    def shape(self, key: str) -> tuple[int | str, ...]:
        """A tensor shape: each dimension a non-negative integer or a name."""
        dimensions: list[int | str] = []
        for value in self._list(key, 16):
            if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, int) and value < 0):
                raise self.error(key, f"expected dimensions (integers or names), found {_kind(value)}")
            dimensions.append(value)
        return tuple(dimensions)

    def table(self, key: str) -> Table:
        """A nested object."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"expected an object, found {_kind(value)}")
        return Table(value, f"{self.path}: {key}")

    def tables(self, key: str, *, max_items: int = 65536) -> Iterator[Table]:
        """A list of objects."""
        for index, value in enumerate(self._list(key, max_items)):
            if not isinstance(value, dict):
                raise self.error(key, f"item {index}: expected an object, found {_kind(value)}")
            yield Table(value, f"{self.path}: {key}[{index}]")

    def named_tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """An object whose values are objects, as (name, object) pairs."""
        table = self.table(key)
        for name in table.names():
            yield name, table.table(name)

    def string_map(self, key: str) -> dict[str, str]:
        """An object whose values are strings."""
        table = self.table(key)
        return {name: table.string(name) for name in table.names()}

    def raw(self, key: str) -> Any:
        """A value of any type, for free-form parts such as generator versions."""
        return self._take(key)

    def names(self) -> tuple[str, ...]:
        """The keys as written."""
        return tuple(self._values)

    def done(self) -> None:
        """Refuse every key that was not asked for.

        Raises:
            RecordError: Naming the unknown key and the nearest known one.
        """
        for key in self._values:
            if key not in self._asked:
                raise RecordError(f"{self.path}: unknown key {_short(key)!r}", hint=nearest(key, tuple(self._asked)))

    def error(self, key: str, problem: str) -> RecordError:
        """An error that carries the key path."""
        return RecordError(f"{self.path}: {key}: {problem}")

    def _take(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self._values:
            raise RecordError(f"{self.path}: missing key {key!r}", hint=nearest(key, tuple(self._values)))
        return self._values[key]

    def _list(self, key: str, max_items: int) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.error(key, f"expected a list, found {_kind(value)}")
        if len(value) > max_items:
            raise self.error(key, f"more than {max_items} items")
        return value


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A hint that names the known word closest to ``word``, or an empty string, also where too many are known."""
    if len(known) > _MOST_NAMES:
        return ""
    import difflib  # only errors need it; a device's start-up does not pay for it

    matches = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""


def _refuse_deep_nesting(outside: bytes, name: str) -> None:
    # Before parsing: the parser itself recurses. Brackets inside strings do not nest. Pairs are taken out from the
    # inside, a level at a time and all at once, which is a hundred times faster than to look at every byte.
    brackets = outside.translate(_OPEN_AND_CLOSE, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"()", b"")
        if not brackets:
            return
    depth = deepest = 0
    for bracket in brackets:  # at most MAX_DEPTH less deep than they were
        depth += 1 if bracket == _OPEN else -1
        deepest = max(deepest, depth)
        if depth < 0 or deepest > MAX_DEPTH:
            break
    if deepest > MAX_DEPTH or depth == 0:
        raise RecordError(f"{name}: nested deeper than {MAX_DEPTH} levels")
    # They do not match, and the parser will say where.


def _refuse_lone_surrogates(value: dict[str, Any], name: str) -> None:
    # Such a string cannot be written as UTF-8 again; keys and list items count too.
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(f"{name}: holds a lone surrogate") from error


def _short(key: str) -> str:
    return key if len(key) <= _MOST_SHOWN else f"{key[:_MOST_SHOWN]}…"


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RecordError(f"{name}: key {_short(key)!r} appears twice")
            seen.add(key)
    return values


def _refuse_constant(text: str, name: str) -> float:
    raise RecordError(f"{name}: {text} is not a number JSON knows")


def _finite(text: str, name: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RecordError(f"{name}: {text} does not fit a double")
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"{value!r}")
