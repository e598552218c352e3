"""How an image becomes a graph's input, step by step, as the checkpoint's own processor does it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeAlias

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

RESAMPLES: Final = ("nearest", "box", "bilinear", "bicubic", "lanczos")
CHANNELS: Final = 3
MAX_EDGE: Final = 8192
MAX_STEPS: Final = 16


@dataclass(frozen=True, slots=True)
class Resize:
    """Resample to ``height`` x ``width`` pixels, whatever the aspect ratio was."""

    height: int
    width: int
    resample: str


@dataclass(frozen=True, slots=True)
class ResizeShortest:
    """Resample so that the shorter edge is ``edge`` pixels and the aspect ratio stays.

    ``longest`` caps the other edge, as ``shortest_edge`` with ``longest_edge`` does in transformers; 0 is no cap.
    """

    edge: int
    longest: int
    resample: str


@dataclass(frozen=True, slots=True)
class Crop:
    """Cut ``height`` x ``width`` pixels out of the centre; zeros surround an image that is smaller."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Rescale:
    """Multiply by ``factor`` in float64, round to float32, then add ``offset``."""

    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class Normalize:
    """Subtract ``mean`` and divide by ``std``, one of each per channel, in float32."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SwapChannels:
    """Turn RGB into BGR."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Put zeros below and to the right until the image is ``height`` x ``width`` pixels."""

    height: int
    width: int


Step: TypeAlias = Resize | ResizeShortest | Crop | Rescale | Normalize | SwapChannels | Pad

_NAMES: Final[Mapping[str, type[Step]]] = {
    "resize": Resize,
    "resize_shortest": ResizeShortest,
    "crop": Crop,
    "rescale": Rescale,
    "normalize": Normalize,
    "swap_channels": SwapChannels,
    "pad": Pad,
}
# Pixels stay 8-bit while they are moved, are then turned into numbers, and zeros are added last.
_RANKS: Final[Mapping[type[Step], int]] = {
    Resize: 0,
    ResizeShortest: 0,
    Crop: 0,
    Rescale: 1,
    Normalize: 1,
    SwapChannels: 1,
    Pad: 2,
}


@dataclass(frozen=True, slots=True)
class ImageSettings(Section):
    """The way from an RGB image of 8 bits a channel to a graph's input.

    Attributes:
        steps: In the order they are done: first those that move pixels, then those that change values, then padding.
            They end with one height and width for every image.
    """

    key: ClassVar[str] = "image"

    steps: tuple[Step, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the graph gets, in pixels."""
        fixed = [step for step in self.steps if isinstance(step, Resize | Crop | Pad)]
        return fixed[-1].height, fixed[-1].width

    def to_json(self) -> dict[str, Any]:
        """The section as ``edgekit.json`` holds it."""
        return {"steps": [_step_json(step) for step in self.steps]}

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What size the model looks at."""
        return (("reads", f"images, resized to {self.size[0]}x{self.size[1]} pixels"),)

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`; a step with a key of its own that is not known here is refused always."""
        steps = tuple(_read_step(item) for item in table.tables("steps", max_items=MAX_STEPS))
        problem = order_problem(steps)
        if problem:
            raise table.error("steps", problem)
        return cls(steps)


def order_problem(steps: tuple[Step, ...]) -> str:
    """What is wrong with these steps as a whole, or an empty string."""
    ranks = [_RANKS[type(step)] for step in steps]
    if ranks != sorted(ranks):
        return "steps that move pixels stand before those that change values, and padding stands last"
    moving = [step for step in steps if isinstance(step, Resize | ResizeShortest | Crop | Pad)]
    if not moving or isinstance(moving[-1], ResizeShortest):
        return "the last step that moves pixels leaves height and width open; a resize, crop or pad must fix them"
    for before, step in itertools.pairwise(moving):
        # A shorter edge alone bounds nothing: only the crop behind it keeps a long, thin image small.
        if isinstance(before, ResizeShortest) and not before.longest and not isinstance(step, Crop):
            return "a shortest edge without a longest one must be followed by a crop"
        if isinstance(step, Pad) and not _fits(before, step):
            return f"pad to {step.height}x{step.width} is smaller than what comes before it"
    return ""


def _fits(before: Step, pad: Pad) -> bool:
    if isinstance(before, Resize | Crop | Pad):
        return before.height <= pad.height and before.width <= pad.width
    # Where the cap is below the edge, transformers still keeps every edge within the cap.
    return isinstance(before, ResizeShortest) and before.longest <= min(pad.height, pad.width)


def _step_json(step: Step) -> dict[str, Any]:
    name = next(name for name, kind in _NAMES.items() if type(step) is kind)
    fields = {field: getattr(step, field) for field in step.__dataclass_fields__}
    return {"do": name} | {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


def _read_step(table: Table) -> Step:
    name = table.string("do", choices=tuple(_NAMES))
    step: Step
    if name == "resize":
        step = Resize(_edge(table, "height"), _edge(table, "width"), table.string("resample", choices=RESAMPLES))
    elif name == "resize_shortest":
        longest = table.integer("longest", minimum=0, maximum=MAX_EDGE)
        step = ResizeShortest(_edge(table, "edge"), longest, table.string("resample", choices=RESAMPLES))
    elif name == "crop":
        step = Crop(_edge(table, "height"), _edge(table, "width"))
    elif name == "rescale":
        step = Rescale(_number(table, "factor"), _number(table, "offset"))
    elif name == "normalize":
        step = Normalize(_channels(table, "mean", -1e6), _channels(table, "std", 1e-6))
    elif name == "swap_channels":
        step = SwapChannels()
    else:
        step = Pad(_edge(table, "height"), _edge(table, "width"))
    table.done()
    return step


def _edge(table: Table, key: str) -> int:
    return table.integer(key, minimum=1, maximum=MAX_EDGE)


def _number(table: Table, key: str) -> float:
    return table.number(key, minimum=-1e6, maximum=1e6)


def _channels(table: Table, key: str, minimum: float) -> tuple[float, ...]:
    values = table.raw(key)
    if not isinstance(values, list) or len(values) != CHANNELS:
        raise table.error(key, f"expected {CHANNELS} numbers, one per channel")
    items = Table({str(index): value for index, value in enumerate(values)}, f"{table.path}: {key}")
    return tuple(items.number(str(index), minimum=minimum, maximum=1e6) for index in range(CHANNELS))
