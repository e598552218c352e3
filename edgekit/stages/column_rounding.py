"""Rounding int8 columns by what they do to a product's outputs, within what every CPU multiplies exactly.

As :mod:`.rounding` does for blocks: the integers of a column are chosen one input after another, each making up for
the errors of those before it (GPTQ, Frantar et al. 2022, arXiv 2210.17323). Two neighbours may not sum to more than
:data:`~edgekit.stages.quantize.PAIR_LIMIT`, so the second of a pair knows what the first has left it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgekit.stages.moments import Moments
from edgekit.stages.products import Matrix, Product
from edgekit.stages.quantize import PAIR_LIMIT, Rounding
from edgekit.stages.rounding import Rounded, damped, errors_and_steps, output_errors
from edgekit.stages.smooth import SMOOTHED, factor_of

LAZY: Final = 128  # inputs between two updates of all others, so that most work is matrix products
HIGHEST: Final = 127


def calibrated_columns(moments: Moments) -> Rounding:
    """Rounds by the moments of the products' inputs; a product that has none stays rounded to the nearest."""

    def rounding(product: Product, nearest: Matrix, scale: Matrix) -> tuple[Matrix, Matrix]:
        moment = moments.measured(product.name.removesuffix(SMOOTHED))
        if moment is None:
            return nearest, scale
        found = round_columns(product.matrix(), nearest, scale, smoothed_moment(moment, factor_of(product)))
        return np.ascontiguousarray(found.integers.T), found.scales[:, 0]

    return rounding


def smoothed_moment(moment: Matrix, factor: Matrix | None) -> Matrix:
    """The second moment, damped, of an activation that is multiplied by a factor before.

    Args:
        moment: As measured, float32 (inputs, inputs).
        factor: (inputs,), zero where no weight reads the input; None for 1.

    Returns:
        float32 (inputs, inputs), zero where no weight reads.
    """
    if factor is None:
        return damped(moment)
    smoothed = np.asarray(moment * factor * factor[:, None], np.float32)
    read = np.flatnonzero(factor)
    smoothed[np.ix_(read, read)] = damped(smoothed[np.ix_(read, read)])
    return smoothed


def round_columns(matrix: Matrix, nearest: Matrix, scale: Matrix, moment: Matrix) -> Rounded:
    """Integers that keep the outputs on calibration inputs, and the scales that fit them best.

    Args:
        matrix: float32 (inputs, outputs).
        nearest: int8 (inputs, outputs), each weight rounded by itself.
        scale: float32 (outputs,), of ``nearest``.
        moment: Second moment of the inputs, :func:`~edgekit.stages.rounding.damped`, float32 (inputs, inputs). Its
            inputs of which nothing is known, or that no weight reads, are zero.

    Returns:
        Integers (outputs, inputs) and one scale for each output, (outputs, 1).
    """
    rows = np.ascontiguousarray(matrix.T)
    read = np.flatnonzero(np.diag(moment) > 0)
    upper = np.linalg.cholesky(np.linalg.inv(moment[np.ix_(read, read)].astype(np.float64))).T
    integers = _sequential(matrix, scale, read, np.asarray(upper, np.float32))
    found, plain = (_fitted(rows, one, scale, moment) for one in (integers, nearest))
    worse = output_errors(rows, found.values(), moment) > output_errors(rows, plain.values(), moment)
    return Rounded(
        np.where(worse[:, None], plain.integers, found.integers), np.where(worse[:, None], plain.scales, found.scales)
    )


def _fitted(rows: Matrix, integers: Matrix, scale: Matrix, moment: Matrix) -> Rounded:
    """With the scales that leave the least error."""
    rounded = Rounded(np.ascontiguousarray(integers.T), scale[:, None].astype(np.float32))
    _, shares = errors_and_steps(rows, rounded, moment)
    return Rounded(rounded.integers, (rounded.scales * (1 + shares)).astype(np.float32))


def _sequential(matrix: Matrix, scale: Matrix, read: Matrix, upper: Matrix) -> Matrix:
    left = matrix[read].copy()
    integers = np.zeros(matrix.shape, np.int8)
    for start in range(0, len(read), LAZY):
        stop = min(start + LAZY, len(read))
        errors = np.empty((stop - start, left.shape[1]), np.float32)
        for place in range(start, stop):
            row = int(read[place])
            partner = integers[row - 1].astype(np.float32) if row % 2 else np.float32(0)
            high = np.minimum(HIGHEST, PAIR_LIMIT - np.maximum(partner, 0))
            low = np.maximum(-HIGHEST, -PAIR_LIMIT + np.maximum(-partner, 0))
            chosen = np.clip(np.rint(left[place] / scale), low, high)
            integers[row] = chosen
            error = (left[place] - chosen * scale) / upper[place, place]
            errors[place - start] = error
            left[place + 1 : stop] -= upper[place, place + 1 : stop, None] * error
        left[stop:] -= upper[start:stop, stop:].T @ errors
    return integers
