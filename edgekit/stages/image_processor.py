"""The checkpoint's own image processor, read as steps a device can do, and proved to be those steps.

The reference is the processor's Pillow backend, which is what ``AutoImageProcessor`` gives where torchvision is not
installed, and what models were trained and measured with before transformers 5. With torchvision installed,
transformers resizes with torch's antialiased interpolation instead: with a bilinear filter that is within one of 255
levels of Pillow's result, with a bicubic one it can be further off where what overshoots is clipped between passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, ExportError
from edgekit.runtime.images import ImageEncoder
from edgekit.runtime.resample import Pixels
from edgekit.spec.settings.image import (
    CHANNELS,
    MAX_EDGE,
    RESAMPLES,
    Crop,
    ImageSettings,
    Normalize,
    Pad,
    Rescale,
    Resize,
    ResizeShortest,
    Step,
    SwapChannels,
    order_problem,
)
from edgekit.stages.quiet import first_line, quiet

# As PIL.Image.Resampling numbers them.
_FILTERS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
# Height and width of images whose results must agree: wide, tall, very tall, tiny.
_PROBES: Final = ((61, 83), (97, 64), (300, 20), (3, 2))
_WARPED: Final = 384  # from this edge on, ConvNeXT's processor resizes without cropping


def load_processor(folder: Path) -> Any:
    """The checkpoint's image processor with the Pillow backend.

    Raises:
        CheckpointError: There is none, or transformers cannot read it.
        ExportError: Pillow is not installed, or the processor has no such backend.
    """
    with quiet():
        from transformers import AutoImageProcessor

        try:
            return AutoImageProcessor.from_pretrained(str(folder), backend="pil", local_files_only=True)
        except ImportError as error:
            raise ExportError(
                f"{folder}: its image processor needs what is not installed: {first_line(error)}",
                hint="pip install 'edgekit[export]'; bundles do not carry what needs torchvision or timm",
            ) from error
        except Exception as error:
            raise CheckpointError(
                f"{folder}: transformers cannot load its image processor: {first_line(error)}",
                hint="a checkpoint for images has a preprocessor_config.json",
            ) from error


def image_settings(processor: Any) -> ImageSettings:
    """What the processor does, as steps, after both have made the same numbers from a few images.

    Args:
        processor: From :func:`load_processor`.

    Raises:
        ExportError: It does something that no step describes; the message names it.
    """
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    steps = tuple(_READERS.get(name, _common)(processor))
    problem = order_problem(steps)
    if problem:
        raise ExportError(f"{name}: not carried by bundles yet: {problem}", hint=_own_options(processor))
    settings = ImageSettings(steps)
    if max(settings.size) > MAX_EDGE:
        raise ExportError(f"{name}: images of {settings.size[0]}x{settings.size[1]} pixels: {MAX_EDGE} is the most")
    _prove(processor, settings, name)
    return settings


def processed(processor: Any, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
    """What the processor makes of images, each uint8 (height, width, 3): float32 (images, channels, height, width).

    Raises:
        ExportError: It fails, or makes something else than pixel values of one size.
    """
    from PIL import Image

    with quiet():
        try:
            made = processor(images=[Image.fromarray(image) for image in images], return_tensors="np")
            return np.asarray(made["pixel_values"], dtype=np.float32)
        except Exception as error:
            raise ExportError(f"{type(processor).__name__}: failed on an image: {first_line(error)}") from error


def _prove(processor: Any, settings: ImageSettings, name: str) -> None:
    encoder = ImageEncoder(settings)
    generator = np.random.default_rng(0)
    for size in (*_PROBES, settings.size):
        image = generator.integers(0, 256, (*size, CHANNELS), dtype=np.uint8)
        expected = processed(processor, [image])
        found = encoder.batch([image])
        if expected.shape != found.shape or not np.array_equal(expected, found):
            raise ExportError(
                f"{name}: does something bundles do not carry yet: of an image of {size[0]}x{size[1]} it makes "
                f"{_difference(expected, found)}",
                hint=_own_options(processor),
            )


def _difference(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> str:
    if expected.shape != found.shape:
        return f"shape {expected.shape}, its steps make {found.shape}"
    return f"values up to {np.abs(expected - found).max():.3g} away from what its steps make"


def _own_options(processor: Any) -> str:
    from transformers.processing_utils import ImagesKwargs

    common = set(ImagesKwargs.__annotations__)
    own = [key for key in processor.valid_kwargs.__annotations__ if key not in common]
    shown = ", ".join(f"{key}={getattr(processor, key, None)!r}" for key in own)
    return f"its own options are {shown}" if shown else ""


def _common(processor: Any) -> list[Step]:
    return [*_moved(processor), *_valued(processor), *_padded(processor)]


def _moved(processor: Any) -> list[Step]:
    return [*([_resize(processor)] if processor.do_resize else []), *_cropped(processor)]


def _resize(processor: Any) -> Step:
    size = _sizes(processor.size)
    resample = _resample(processor)
    if size.keys() == {"height", "width"}:
        return Resize(size["height"], size["width"], resample)
    if size.keys() in ({"shortest_edge"}, {"shortest_edge", "longest_edge"}):
        return ResizeShortest(size["shortest_edge"], size.get("longest_edge", 0), resample)
    raise ExportError(
        f"{type(processor).__name__}: resizes to {', '.join(size)}, which bundles do not carry yet",
        hint="height with width, and shortest_edge with or without longest_edge, are",
    )


def _cropped(processor: Any) -> list[Step]:
    if not processor.do_center_crop:
        return []
    size = _sizes(processor.crop_size)
    if size.keys() != {"height", "width"}:
        raise ExportError(f"{type(processor).__name__}: crops to {', '.join(size)}, which bundles do not carry yet")
    return [Crop(size["height"], size["width"])]


def _valued(processor: Any) -> list[Step]:
    steps: list[Step] = []
    if processor.do_rescale:
        steps.append(Rescale(float(processor.rescale_factor), 0.0))
    if processor.do_normalize:
        steps.append(Normalize(_channels(processor.image_mean), _channels(processor.image_std)))
    return steps


def _padded(processor: Any) -> list[Step]:
    if not processor.do_pad:
        return []
    size = _sizes(processor.pad_size)
    if size.keys() != {"height", "width"}:
        raise ExportError(
            f"{type(processor).__name__}: do_pad without a fixed pad_size: an image's answer would depend on its batch"
        )
    return [Pad(size["height"], size["width"])]


def _convnext(processor: Any) -> list[Step]:
    edge = _sizes(processor.size).get("shortest_edge", 0)
    moved: list[Step] = []
    if processor.do_resize and edge >= _WARPED:
        moved = [Resize(edge, edge, _resample(processor))]
    elif processor.do_resize:
        moved = [ResizeShortest(int(edge / processor.crop_pct), 0, _resample(processor)), Crop(edge, edge)]
    return [*moved, *_cropped(processor), *_valued(processor)]


def _poolformer(processor: Any) -> list[Step]:
    size = _sizes(processor.size)
    edge = size.get("shortest_edge") or size.get("height", 0)
    if not processor.do_resize or processor.crop_pct is None or size.get("height") != size.get("width"):
        return _common(processor)
    scaled = ResizeShortest(int(edge / processor.crop_pct), 0, _resample(processor))
    return [scaled, *_cropped(processor), *_valued(processor), *_padded(processor)]


def _levit(processor: Any) -> list[Step]:
    edge = _sizes(processor.size).get("shortest_edge")
    if not processor.do_resize or not edge:
        return _common(processor)
    scaled = ResizeShortest(int((256 / 224) * edge), 0, _resample(processor))
    return [scaled, *_cropped(processor), *_valued(processor), *_padded(processor)]


def _efficientnet(processor: Any) -> list[Step]:
    steps: list[Step] = []
    for step in (*_moved(processor), *_valued(processor)):
        offset = isinstance(step, Rescale) and processor.rescale_offset
        steps.append(Rescale(step.factor, -1.0) if offset and isinstance(step, Rescale) else step)
    if processor.include_top:
        steps.append(Normalize((0.0,) * CHANNELS, _channels(processor.image_std)))
    return steps


def _mobilevit(processor: Any) -> list[Step]:
    rescaled = [step for step in _valued(processor) if isinstance(step, Rescale)]  # it never normalizes
    # It crops after rescaling, which gives the same: the zeros around a small image stay zeros.
    return [*_moved(processor), *rescaled, *([SwapChannels()] if processor.do_flip_channel_order else [])]


# Processors with a resize or with values of their own; all others are read by their common attributes.
_READERS: Final[Mapping[str, Callable[[Any], list[Step]]]] = {
    "ConvNextImageProcessor": _convnext,
    "EfficientNetImageProcessor": _efficientnet,
    "LevitImageProcessor": _levit,
    "MobileViTImageProcessor": _mobilevit,
    "PoolFormerImageProcessor": _poolformer,
}


def _sizes(size: Any) -> dict[str, int]:
    return {key: int(value) for key, value in dict(size or {}).items() if value is not None}


def _resample(processor: Any) -> str:
    code = processor.resample
    name = _FILTERS.get(2 if code is None else int(code), "")
    if name not in RESAMPLES:
        raise ExportError(
            f"{type(processor).__name__}: resample {code!r} is not carried by bundles",
            hint=f"{', '.join(RESAMPLES)} are",
        )
    return name


def _channels(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in (values if isinstance(values, list | tuple) else [values] * CHANNELS))
    if len(numbers) != CHANNELS:
        raise ExportError(
            f"image_mean or image_std has {len(numbers)} numbers; bundles carry images of {CHANNELS} channels"
        )
    return numbers
