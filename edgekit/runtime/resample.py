"""Resize images of 8 bits a channel with numpy alone, to the last bit as Pillow does it.

The method is Pillow's (``src/libImaging/Resample.c`` and ``Geometry.c``, version 13; the filters are described at
https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters): a separable filter whose support grows with
the reduction, horizontally first, then vertically, its weights rounded to 22 fractional bits, the result of each pass
rounded and clipped to 8 bits. Here a pass is a few dense products in float64: every term is an integer and every
sum stays below 2**53, so it is exact in whatever order it is added up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]

_ONE: Final = float(1 << 22)
_CHUNK: Final = 1 << 20  # pixels held as float64 at once
_LEAST_BLOCK: Final = 8
_MOST_BLOCK: Final = 64


def resize(planes: Pixels, size: tuple[int, int], resample: str, window: tuple[range, range] | None = None) -> Pixels:
    """Resample an image, or only a part of the result.

    Args:
        planes: (channels, height, width).
        size: Height and width of the whole result, in pixels.
        resample: One of :data:`edgekit.spec.settings.image.RESAMPLES`.
        window: Rows and columns of the result that are wanted, each without gaps; None wants all. What lies outside
            costs nothing.

    Returns:
        (channels, rows, columns).
    """
    rows, columns = window or (range(size[0]), range(size[1]))
    _, height, width = planes.shape
    if resample == "nearest":
        return planes[:, _nearest(height, size[0], rows)][:, :, _nearest(width, size[1], columns)]
    down = _weights(height, size[0], rows, resample)
    across = _weights(width, size[1], columns, resample)
    # Pillow 13 turns the order round where the height shrinks much more: less work, and other last bits.
    if height - size[0] > max(0, 2 * (width - size[1])):
        return _convolve(_convolve(planes.swapaxes(1, 2), *down).swapaxes(1, 2), *across)
    first, counts, weights = down
    top = int(first.min())
    planes = _convolve(planes[:, top : int((first + counts).max())], *across)  # no other rows are read below
    return _convolve(planes.swapaxes(1, 2), first - top, counts, weights).swapaxes(1, 2)


def _convolve(planes: Pixels, first: Places, counts: Places, weights: Floats) -> Pixels:
    """Weighted sums along the last axis, rounded to 8 bits.

    Args:
        planes: (channels, lines, pixels).
        first: The first pixel that each result is made from.
        counts: How many pixels it is made from.
        weights: In units of 2**-22, (results, most pixels).
    """
    channels, lines, _ = planes.shape
    results = len(first)
    out = np.empty((channels, lines, results), dtype=np.uint8)
    # A block of results shares one dense matrix, about twice as long as one result's own weights.
    step = max(1.0, (int(first[-1]) - int(first[0])) / max(1, results - 1))
    block = min(_MOST_BLOCK, max(_LEAST_BLOCK, math.ceil(weights.shape[1] / step)))
    for start in range(0, results, block):
        stop = min(start + block, results)
        low = int(first[start:stop].min())
        high = int((first[start:stop] + counts[start:stop]).max())
        matrix = np.zeros((high - low, stop - start))
        for column, result in enumerate(range(start, stop)):
            begin, count = int(first[result]) - low, int(counts[result])
            matrix[begin : begin + count, column] = weights[result, :count]
        chunk = max(1, _CHUNK // (channels * (high - low)))
        for line in range(0, lines, chunk):
            sums = planes[:, line : line + chunk, low:high].astype(np.float64) @ matrix
            out[:, line : line + chunk, start:stop] = np.clip(np.floor((sums + _ONE / 2) / _ONE), 0, 255)
    return out


def _weights(size: int, new_size: int, wanted: range, resample: str) -> tuple[Places, Places, Floats]:
    """For each wanted place: the first source pixel, how many there are, and their weights in units of 2**-22."""
    if size == new_size:  # not filtered: each pixel is made from itself
        places = np.arange(wanted.start, wanted.stop)
        return places, np.ones_like(places), np.full((len(places), 1), _ONE)
    kernel, support = _KERNELS[resample]
    scale = size / new_size
    stretch = max(scale, 1.0)
    support *= stretch
    centers = (np.arange(wanted.start, wanted.stop, dtype=np.float64) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centers + support + 0.5).astype(np.int64), size)
    places = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    weights = kernel((places - centers[:, None] + 0.5) * (1.0 / stretch))
    weights[places >= last[:, None]] = 0
    # One after the other: numpy's sum() adds in another order, which can move the last bit.
    total = np.add.accumulate(weights, axis=1)[:, -1:]
    np.divide(weights, total, out=weights, where=total != 0)
    return first, last - first, np.trunc(weights * _ONE + np.copysign(0.5, weights))


def _nearest(size: int, new_size: int, wanted: range) -> Places:
    # Pillow adds the step again and again; a product would round differently at some places.
    steps = np.full(wanted.stop, size / new_size)
    steps[0] *= 0.5
    return np.minimum(np.add.accumulate(steps).astype(np.int64)[wanted.start :], size - 1)


def _box(x: Floats) -> Floats:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Floats) -> Floats:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _bicubic(x: Floats) -> Floats:
    # Keys' cubic convolution with a = -1/2: https://en.wikipedia.org/wiki/Bicubic_interpolation
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: Floats) -> Floats:
    # math.sin is the C library's, whose last bit numpy's own need not share.
    def value(place: float) -> float:
        return _sinc(place) * _sinc(place / 3) if -3.0 <= place < 3.0 else 0.0

    return np.array([value(place) for place in x.ravel().tolist()], dtype=np.float64).reshape(x.shape)


def _sinc(x: float) -> float:
    x *= math.pi
    return math.sin(x) / x if x else 1.0


_KERNELS: Final[Mapping[str, tuple[Callable[[Floats], Floats], float]]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
