"""Rounding better than nearest: block-wise integers that keep a product's outputs, not its weights.

Nearest rounding makes every weight as close as it can be, and lets the errors of one output add up. Here the integers
and scales of each output row ``w`` minimize ``(r - w) H (r - w)``, where ``r`` is what the row is rounded to and ``H``
the second moment of the product's inputs on calibration texts: the output's mean squared error. As in GPTQ (Frantar et
al. 2022, arXiv 2210.17323) the inputs are rounded one after another, each making up for those before it; then
coordinate descent (QuantEase, Behdin et al. 2023, arXiv 2309.01885) moves single integers and, which those do not,
each block's scale to its least-squares value, until nothing moves or :data:`SWEEPS` are done.

Written here because the kept libraries (neural-compressor, GPTQModel, ONNX Runtime's wrapper of the first) bring
dependencies of hundreds of megabytes, round by columns of whole graphs, and leave the scales at the largest weight.
What comes out can be checked without knowing how it was found: see :func:`errors_and_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgekit.stages.blockwise import quantize_rows, signed
from edgekit.stages.products import Matrix

SWEEPS: Final = 3  # over integers and scales: a fourth lowers the error by less than a hundredth
FITS: Final = 2  # over scales alone, so that they fit the integers that stay
DAMPING: Final = 0.01  # of the mean second moment, added to all: unseen directions must not run away (GPTQ's value)
SHRINKS: Final = tuple(1 - 0.05 * step for step in range(9))  # of a block's range, tried for the least error
ROWS_AT_ONCE: Final = 8192
LAZY: Final = 128  # columns between two updates of all others, so that most work is matrix products

Limits = Callable[[int, Matrix], tuple[Matrix | int, Matrix | int]]
"""From an input's place and the integers (inputs, outputs) of those before it, its lowest and highest integer."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """Rows as integers and scales.

    Attributes:
        integers: int8 (outputs, inputs), in the range of signed numbers of so many bits.
        scales: float32 (outputs, blocks); never zero, negative where the block's farthest weight is positive.
    """

    integers: Matrix
    scales: Matrix

    def values(self) -> Matrix:
        """What the rows stand for, float32 (outputs, inputs)."""
        return np.asarray(self.integers * _spread(self.scales, self.integers.shape[1]), np.float32)


def damped(moment: Matrix) -> Matrix:
    """A second moment that can be inverted: some of its mean is added to the diagonal. float32 (inputs, inputs)."""
    whole = np.asarray(moment, np.float64)
    mean = float(np.trace(whole)) / len(whole)
    return np.asarray(whole + np.eye(len(whole)) * (DAMPING * mean or 1.0), np.float32)


def plain(rows: Matrix, bits: int, block: int) -> Rounded:
    """Nearest rounding with each block's largest weight as the highest number: within half a step of every weight."""
    blocks, scales = quantize_rows(rows, bits, block)
    return Rounded(signed(blocks, bits).astype(np.int8).reshape(rows.shape), scales)


def round_calibrated(rows: Matrix, bits: int, block: int, moment: Matrix) -> Rounded:
    """Integers and scales that keep the outputs on calibration inputs.

    Args:
        rows: float32 (outputs, inputs); ``block`` divides inputs.
        bits: 4 or 8.
        block: Inputs that share a scale.
        moment: Second moment of the inputs, :func:`damped`, float32 (inputs, inputs).
    """
    upper = inverse_factor(moment)
    weights = np.diag(moment)
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[start : start + ROWS_AT_ONCE]
        fitted = _fitted(chunk, bits, block, weights)
        found = sequential(chunk, fitted.scales, upper, lambda *_: _limits(bits))
        best = _better(chunk, Rounded(found, fitted.scales), plain(chunk, bits, block), moment)
        parts.append(_descend(chunk, best, bits, block, moment))
    return Rounded(np.concatenate([one.integers for one in parts]), np.concatenate([one.scales for one in parts]))


def output_errors(rows: Matrix, values: Matrix, moment: Matrix) -> Matrix:
    """Mean squared error of each output on the calibration inputs, float64 (outputs,)."""
    off = values - rows
    return np.asarray(np.einsum("ij,ij->i", off @ moment, off, dtype=np.float64))


def errors_and_steps(rows: Matrix, rounded: Rounded, moment: Matrix) -> tuple[Matrix, Matrix]:
    """What rounding did, without knowing how it was done.

    Returns:
        :func:`output_errors` (outputs,), and by what share of itself each block's scale would have to change to leave
        the least of it (outputs, blocks).
    """
    block = rounded.integers.shape[1] // rounded.scales.shape[1]
    off = rounded.values() - rows
    gradient = off @ moment
    steps = np.zeros_like(rounded.scales)
    for index in range(rounded.scales.shape[1]):
        part = slice(index * block, (index + 1) * block)
        steps[:, index] = _scale_step(rounded.integers[:, part], gradient[:, part], moment[part, part])
    return np.asarray(np.einsum("ij,ij->i", gradient, off, dtype=np.float64)), np.asarray(steps / rounded.scales)


def _limits(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _spread(scales: Matrix, inputs: int) -> Matrix:
    return np.repeat(scales, inputs // scales.shape[1], axis=1)


def _fitted(rows: Matrix, bits: int, block: int, weights: Matrix) -> Rounded:
    """Nearest rounding, each block's scale the one of several that leaves the least error; inputs count by weight."""
    low, high = _limits(bits)
    blocks = rows.reshape(len(rows), -1, block)
    counts = weights.reshape(1, -1, block)
    farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
    # The farthest weight becomes the lowest number, of which there is one more than of the highest.
    full = np.where(farthest != 0, farthest / low, 1.0).astype(np.float32)
    best, scales = np.full(full.shape, np.inf, np.float32), full
    for shrink in SHRINKS:
        scale = (full * np.float32(shrink)).astype(np.float32)
        steps = blocks / scale[..., None]
        error = ((np.clip(np.rint(steps), low, high) - steps) ** 2 * counts).sum(axis=2) * scale**2
        scales = np.where(error < best, scale, scales)
        best = np.minimum(best, error)
    integers = np.clip(np.rint(blocks / scales[..., None]), low, high).astype(np.int8)
    return Rounded(integers.reshape(rows.shape), scales)


def sequential(rows: Matrix, scales: Matrix, upper: Matrix, limits: Limits) -> Matrix:
    """Integers rounded one input after another, those to come making up for the errors so far (GPTQ).

    Args:
        rows: float32 (outputs, inputs).
        scales: float32 (outputs, blocks).
        upper: Upper Cholesky factor of the inputs' inverse second moment, float32 (inputs, inputs).
        limits: Of the integers.

    Returns:
        int8 (outputs, inputs).
    """
    left = np.array(rows.T, np.float32, order="C")  # (inputs, outputs), so that an input is one stretch of memory
    steps = np.ascontiguousarray(scales.T)
    block = len(left) // len(steps)
    integers = np.empty(left.shape, np.int8)
    for start in range(0, len(left), LAZY):
        stop = min(start + LAZY, len(left))
        errors = np.empty((stop - start, left.shape[1]), np.float32)
        for place in range(start, stop):
            scale = steps[place // block]
            chosen = np.clip(np.rint(left[place] / scale), *limits(place, integers))
            integers[place] = chosen
            error = (left[place] - chosen * scale) / upper[place, place]
            errors[place - start] = error
            left[place + 1 : stop] -= upper[place, place + 1 : stop, None] * error
        left[stop:] -= upper[start:stop, stop:].T @ errors
    return np.ascontiguousarray(integers.T)


def inverse_factor(moment: Matrix) -> Matrix:
    """What :func:`sequential` carries errors on by, from a second moment that is :func:`damped`."""
    return np.asarray(np.linalg.cholesky(np.linalg.inv(moment.astype(np.float64))).T, np.float32)


def _better(rows: Matrix, first: Rounded, second: Rounded, moment: Matrix) -> Rounded:
    """For each row the one with the smaller output error."""
    wins = output_errors(rows, first.values(), moment) <= output_errors(rows, second.values(), moment)
    wins = wins[:, None]
    return Rounded(np.where(wins, first.integers, second.integers), np.where(wins, first.scales, second.scales))


def _descend(rows: Matrix, start: Rounded, bits: int, block: int, moment: Matrix) -> Rounded:
    """Coordinate descent over integers and scales."""
    wanted = np.ascontiguousarray(rows.T)  # (inputs, outputs), so that an input is one stretch of memory
    integers = np.ascontiguousarray(start.integers.T).astype(np.float32)
    scales = np.ascontiguousarray(start.scales.T).copy()
    for sweep in range(SWEEPS + FITS):
        gradient = moment @ (integers * np.repeat(scales, block, axis=0) - wanted)
        moved = 0
        for index in range(len(scales)):
            part = slice(index * block, (index + 1) * block)
            own, before = gradient[part].copy(), integers[part] * scales[index]
            if sweep < SWEEPS:
                moved += _move(integers[part], scales[index], own, moment[part, part], _limits(bits))
            fitted = scales[index] + _scale_step(integers[part].T, own.T, moment[part, part])
            scales[index] = np.where(fitted * scales[index] > 0, fitted, scales[index])
            gradient += moment[:, part] @ (integers[part] * scales[index] - before)
        if not moved and sweep < SWEEPS:
            break
    return Rounded(np.ascontiguousarray(integers.T).astype(np.int8), np.ascontiguousarray(scales.T))


def _move(integers: Matrix, scale: Matrix, gradient: Matrix, moment: Matrix, limits: tuple[int, int]) -> int:
    """Move each integer of a block, (inputs, outputs), to the best one given all others; how many moved."""
    moved = 0
    for place in range(len(integers)):
        best = np.clip(np.rint(integers[place] - gradient[place] / (scale * moment[place, place])), *limits)
        change = best - integers[place]
        moved += int(np.count_nonzero(change))
        integers[place] = best
        gradient += moment[:, place, None] * (change * scale)
    return moved


def _scale_step(integers: Matrix, gradient: Matrix, moment: Matrix) -> Matrix:
    """What a block's scale, (outputs,), must change by to leave the least output error; all given (outputs, inputs)."""
    numbers = integers.astype(np.float32)
    bend = np.einsum("ij,ij->i", numbers @ moment, numbers)
    slope = np.einsum("ij,ij->i", numbers, gradient)
    return np.asarray(np.where(bend > 0, -slope / np.where(bend > 0, bend, 1), 0), np.float32)
