"""The bundles of a service: opened, warmed up, each with its lane."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgekit.errors import HostError, UsageError
from edgekit.runtime.workloads import SPECIAL_TOKENS, make_texts
from edgekit.serve import gain
from edgekit.serve.asking import IMAGE, TaskRoute
from edgekit.serve.lane import Lane
from edgekit.serve.narrow import Narrow, decide
from edgekit.serve.routes import routes_of
from edgekit.spec.reader import nearest
from edgekit.spec.settings.generation import GenerationSettings
from edgekit.spec.settings.text import TextSettings

if TYPE_CHECKING:
    from edgekit.runtime import Model

_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)
_OWN: Final = frozenset({"batch_size"})  # the service's to choose


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bundle to serve.

    Attributes:
        path: Its folder, packed file, or the name of an installed one.
        name: What requests call it; its own name where empty.
        task: What it is used for; its own task where empty.
    """

    path: str
    name: str = ""
    task: str = ""

    @classmethod
    def of(cls, text: str) -> Wanted:
        """``NAME=PATH``, or a path alone."""
        match = _NAMED.fullmatch(text)
        return cls(text) if match is None or Path(text).exists() else cls(match[2], match[1])


@dataclass(frozen=True, slots=True)
class Pace:
    """How a bundle is asked.

    Attributes:
        calls: Calls at a time, with all threads each; None measures whether calls of one thread answer more.
        max_batch: Inputs of several requests that share a call; None measures what is faster.
        wait_s: How long a request may be held back until others join it.
        queue_s: How long it may wait for its turn.
    """

    calls: int | None = None
    max_batch: int | None = None
    wait_s: float = 0.0
    queue_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle that answers.

    Attributes:
        name: What requests call it.
        task: What it is used for.
        model: The open bundle, with all threads.
        lane: Its queue.
        gain: What batches gave; None where it was not measured.
        narrow: Whether calls of one thread answer too.
        routes: Where it answers.
        options: What its calls can be told.
    """

    name: str
    task: str
    model: Model
    lane: Lane
    gain: gain.Gain | None
    narrow: Narrow
    routes: tuple[TaskRoute, ...]
    options: tuple[str, ...]

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse options that another model of the task has and this one has not.

        Raises:
            UsageError: Naming the option.
        """
        for name in options:
            if name not in self.options:
                raise UsageError(f"parameters.{name}: {self.name} has no such option", hint=nearest(name, self.options))

    def stands_alone(self, texts: Iterable[str]) -> bool:
        """Whether inputs with such texts are no faster together with others."""
        limit = self.gain.alone_from if self.gain else None
        return limit is not None and any(len(text) >= limit for text in texts)

    def document(self) -> dict[str, Any]:
        """What there is to know about it, as JSON."""
        manifest = self.model.manifest
        return {
            "name": self.name,
            "bundle": manifest.name,
            "version": manifest.version,
            "release": manifest.release,
            "task": self.task,
            "routes": [route.path for route in self.routes],
            "variant": self.model.variant.name,
            "precision": self.model.variant.precision,
            "parity": self.model.variant.parity,
            "signature": self.model.standing.state,
            "license": manifest.source.license,
            "max_batch": self.lane.max_batch,
            "threads": self.model.threads,
            "narrow": self.narrow.document(),
        }

    def close(self) -> None:
        """End the threads and give the memory back."""
        self.lane.close()
        self.narrow.close()
        self.model.close()


def open_all(
    wanted: Sequence[Wanted],
    opener: Callable[[Wanted], Model],
    pace: Pace,
    watch: Callable[[str, int, float], None],
) -> list[Served]:
    """Open bundles and begin their lanes.

    Args:
        wanted: The bundles.
        opener: Opens one.
        pace: Of every lane.
        watch: Told of each call: name, inputs, seconds.

    Raises:
        UsageError: Two have one name.
        EdgekitError: What opening one raised.
    """
    served: list[Served] = []
    try:
        for one in wanted:
            served.append(_open(one, opener, pace, watch, [other.name for other in served]))
    except BaseException:
        for other in served:
            other.close()
        raise
    return served


def _open(
    wanted: Wanted,
    opener: Callable[[Wanted], Model],
    pace: Pace,
    watch: Callable[[str, int, float], None],
    taken: Sequence[str],
) -> Served:
    model = opener(wanted)
    try:
        name = _free_name(wanted.name or model.manifest.name, taken)
        task = wanted.task or model.manifest.task
        routes = routes_of(task)
        if any(route.media == IMAGE for route in routes):
            _need_pillow()
        measured = _measured(model) if pace.max_batch is None else None
        batch = pace.max_batch or (measured.batch if measured else 1)
        narrow = decide(model, batch, fixed=pace.calls is not None)
    except BaseException:
        model.close()
        raise
    lane = Lane(
        name,
        narrow.widths(model, pace.calls or 1),
        max_batch=batch,
        wait_s=pace.wait_s,
        queue_s=pace.queue_s,
        watch=lambda inputs, seconds: watch(name, inputs, seconds),
    )
    options = tuple(name for name in inspect.signature(model.__call__).parameters if name not in _OWN)
    return Served(name, task, model, lane, measured, narrow, routes, options)


def _free_name(name: str, taken: Sequence[str]) -> str:
    if name in taken:
        raise UsageError(f"two bundles are called {name!r}", hint="name them: NAME=PATH")
    return name


def _measured(model: Model) -> gain.Gain:
    """What batches of the bundle's first golden input gain, and of a long text where that is one."""

    def ask(inputs: Sequence[Any], size: int) -> None:
        model.raw(inputs, batch_size=size)

    one = model.golden()[0].input
    short = gain.measure(ask, one)
    settings = model.manifest.settings.get(TextSettings.key)
    if short.batch == 1 or set(one) != {"text"} or not isinstance(settings, TextSettings):
        return short
    (words,) = make_texts(1, max(settings.max_length // 2, SPECIAL_TOKENS + 1))
    long = f"{one['text']} {words}"  # it begins with what the task may look for, such as a mask
    if len(words) < 2 * len(one["text"]) or GenerationSettings.key in model.manifest.settings:
        return short
    return short.also(gain.measure(ask, {"text": long}), len(long))


def _need_pillow() -> None:
    try:
        import PIL  # noqa: F401 - to fail before the first request does
    except ImportError as error:
        raise HostError(
            "images come as files, and Pillow is not installed", hint="pip install 'edgekit[serve,image]'"
        ) from error
