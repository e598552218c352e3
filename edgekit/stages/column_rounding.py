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
from edgekit.stages.rounding import Rounded, errors_and_steps, inverse_factor, output_errors, sequential

HIGHEST: Final = 127


def calibrated_columns(moments: Moments) -> Rounding:
    """Rounds by the moments of the products' inputs; a product that has none stays rounded to the nearest."""

    def rounding(product: Product, nearest: Matrix, scale: Matrix) -> tuple[Matrix, Matrix]:
        moment = moments.of(product.name)
        if moment is None:
            return nearest, scale
        found = round_columns(product.matrix(), nearest, scale, moment)
        return np.ascontiguousarray(found.integers.T), found.scales[:, 0]

    return rounding


def round_columns(matrix: Matrix, nearest: Matrix, scale: Matrix, moment: Matrix) -> Rounded:
    """Integers that keep the outputs on calibration inputs, and the scales that fit them best.

    Args:
        matrix: float32 (inputs, outputs).
        nearest: int8 (inputs, outputs), each weight rounded by itself.
        scale: float32 (outputs,), of ``nearest``.
        moment: Second moment of the inputs, :func:`~edgekit.stages.rounding.damped`, float32 (inputs, inputs).

    Returns:
        Integers (outputs, inputs) and one scale for each output, (outputs, 1).
    """
    rows = np.ascontiguousarray(matrix.T)
    integers = sequential(rows, scale[:, None], inverse_factor(moment), _pair_limits)
    found, plain = (_fitted(rows, one, scale, moment) for one in (integers, np.ascontiguousarray(nearest.T)))
    worse = output_errors(rows, found.values(), moment) > output_errors(rows, plain.values(), moment)
    return Rounded(
        np.where(worse[:, None], plain.integers, found.integers), np.where(worse[:, None], plain.scales, found.scales)
    )


def _fitted(rows: Matrix, integers: Matrix, scale: Matrix, moment: Matrix) -> Rounded:
    """With the scales that leave the least error."""
    rounded = Rounded(integers, scale[:, None].astype(np.float32))
    _, shares = errors_and_steps(rows, rounded, moment)
    return Rounded(rounded.integers, (rounded.scales * (1 + shares)).astype(np.float32))


def _pair_limits(place: int, integers: Matrix) -> tuple[Matrix | int, Matrix | int]:
    """What the first of a pair has left the second."""
    if place % 2 == 0:
        return -HIGHEST, HIGHEST
    partner = integers[place - 1].astype(np.int32)
    return (
        np.maximum(-HIGHEST, -PAIR_LIMIT - np.minimum(partner, 0)),
        np.minimum(HIGHEST, PAIR_LIMIT - np.maximum(partner, 0)),
    )
