"""From images to a graph's input, in numpy, with the numbers of the checkpoint's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.runtime.resample import Pixels, resize
from edgekit.spec.settings.image import (
    CHANNELS,
    Crop,
    ImageSettings,
    Normalize,
    Rescale,
    Resize,
    ResizeShortest,
    Step,
    SwapChannels,
)

MAX_PIXELS: Final = 89_478_485  # what Pillow calls a decompression bomb: a quarter of a GiB as RGB
MAX_RESIZED: Final = 1 << 20  # pixels on the longer edge

Floats: TypeAlias = npt.NDArray[np.float32]


class ImageEncoder:
    """Turns images into pixel values as the bundle's settings say.

    Args:
        settings: The manifest's.
    """

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self._moves = _pairs(settings.steps)
        # 8 bits a channel have 256 values: what becomes of each is worked out once.
        values = np.broadcast_to(np.arange(256, dtype=np.uint8), (CHANNELS, 256))
        self._table = _change(values, settings.steps).astype(np.float32)
        swaps = sum(isinstance(step, SwapChannels) for step in settings.steps)
        self._channels = (2, 1, 0) if swaps % 2 else (0, 1, 2)

    def batch(self, images: Sequence[Pixels]) -> Floats:
        """The images as one array.

        Args:
            images: At least one, each from :func:`check_image`.

        Returns:
            (images, 3, height, width); height and width are ``settings.size``.

        Raises:
            InputError: An image is so long and thin that it cannot be resized by its shorter edge.
        """
        height, width = self.settings.size
        batch = np.zeros((len(images), CHANNELS, height, width), dtype=np.float32)
        for index, image in enumerate(images):
            planes = image.transpose(2, 0, 1)
            for resizing, crop in self._moves:
                planes = _move(planes, resizing, crop)
            _, rows, columns = planes.shape
            if rows > height or columns > width:
                # Rounding can leave the longer edge over its cap; transformers stops there too.
                raise InputError(
                    f"image: {image.shape[0]}x{image.shape[1]} pixels is too long and thin: resized to "
                    f"{rows}x{columns} it does not fit {height}x{width}"
                )
            for channel, source in enumerate(self._channels):
                batch[index, channel, :rows, :columns] = self._table[channel][planes[source]]
        return batch


def check_image(value: Any, name: str = "image") -> Pixels:
    """An image that is safe to work on.

    Args:
        value: 8 bits a channel, (height, width, 3) RGB or (height, width) grey.
        name: What to call it in errors.

    Returns:
        (height, width, 3).

    Raises:
        InputError: It is of another type, dtype or rank, empty, or has more than :data:`MAX_PIXELS` pixels.
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name}: expected a numpy array, got {type(value).__name__}")
    if value.dtype != np.uint8:
        hint = "scale to 0..255, round, and use .astype(numpy.uint8)" if value.dtype.kind == "f" else ""
        raise InputError(f"{name}: expected an array of uint8, got {value.dtype}", hint=hint)
    if value.ndim != 2 and (value.ndim != 3 or value.shape[2] != CHANNELS):
        hint = "channels come last: image.transpose(1, 2, 0)" if value.ndim == 3 and value.shape[0] == CHANNELS else ""
        raise InputError(
            f"{name}: expected shape (height, width, 3) or (height, width), got {value.shape}",
            hint=hint or "give several images as a list",
        )
    if not value.size:
        raise InputError(f"{name}: has no pixels: shape {value.shape}")
    if value.shape[0] * value.shape[1] > MAX_PIXELS:
        raise InputError(f"{name}: {value.shape[0]}x{value.shape[1]} is more than {MAX_PIXELS} pixels")
    return value if value.ndim == 3 else np.repeat(value[:, :, None], CHANNELS, axis=2)


def _move(planes: Pixels, resizing: Resize | ResizeShortest | None, crop: Crop | None) -> Pixels:
    """Resize, then crop; only what the crop leaves is resampled."""
    size = (planes.shape[1], planes.shape[2])
    if resizing is not None:
        size = _new_size(size, resizing)
    rows, columns = range(size[0]), range(size[1])
    if crop is not None:
        rows, columns = _kept(size[0], crop.height), _kept(size[1], crop.width)
    if resizing is not None:
        planes = resize(planes, size, resizing.resample, (rows, columns))
    else:
        planes = planes[:, rows.start : rows.stop, columns.start : columns.stop]
    if crop is None or planes.shape[1:] == (crop.height, crop.width):
        return planes
    black = np.zeros((len(planes), crop.height, crop.width), dtype=np.uint8)
    top, left = max(0, (crop.height - size[0] + 1) // 2), max(0, (crop.width - size[1] + 1) // 2)
    black[:, top : top + len(rows), left : left + len(columns)] = planes
    return black


def _kept(size: int, wanted: int) -> range:
    start = (size - wanted) // 2
    return range(max(0, start), min(size, start + wanted))


def _new_size(size: tuple[int, int], step: Resize | ResizeShortest) -> tuple[int, int]:
    if isinstance(step, Resize):
        return step.height, step.width
    short, long = min(size), max(size)
    edge, exact = step.edge, float(step.edge)
    if step.longest and long / short * edge > step.longest:
        exact = step.longest * float(short) / long
        edge = round(exact)
    # The longer edge follows from the unrounded shorter one, unless that one already fits.
    new_long = long if step.longest and edge == short else int(exact * long / short)
    if not 1 <= edge <= new_long <= MAX_RESIZED:
        raise InputError(
            f"image: {size[0]}x{size[1]} pixels is too long and thin: resized, its edges would be {edge} and {new_long}"
        )
    return (edge, new_long) if size[0] <= size[1] else (new_long, edge)


def _pairs(steps: tuple[Step, ...]) -> tuple[tuple[Resize | ResizeShortest | None, Crop | None], ...]:
    pairs: list[tuple[Resize | ResizeShortest | None, Crop | None]] = []
    for step in steps:
        if isinstance(step, Resize | ResizeShortest):
            pairs.append((step, None))
        elif isinstance(step, Crop):
            before = pairs.pop()[0] if pairs and pairs[-1][1] is None else None
            pairs.append((before, step))
    return tuple(pairs)


def _change(planes: npt.NDArray[Any], steps: tuple[Step, ...]) -> npt.NDArray[Any]:
    """Rescale, normalize and swap channels, each with the dtypes transformers computes in; (channels, values)."""
    for step in steps:
        if isinstance(step, Rescale):
            planes = (planes.astype(np.float64) * step.factor).astype(np.float32) + np.float32(step.offset)
        elif isinstance(step, Normalize):
            mean, std = (np.array(numbers, dtype=np.float32)[:, None] for numbers in (step.mean, step.std))
            planes = (planes.astype(np.float32) - mean) / std
        elif isinstance(step, SwapChannels):
            planes = planes[::-1]
    return planes
