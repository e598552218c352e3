"""Check calibrated rounding: integers that are not the nearest on purpose.

Half a step from the original is no bound for them. What they promise instead is checked, from the stored numbers, the
original weights and the moments alone: no output row is farther off on the calibration inputs than nearest rounding
with the same bits and blocks would leave it, and every block's scale is the least-squares one for its integers. A row,
a block or a zero point that was swapped breaks the first, a scale that is off by a percent breaks the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edgekit.spec.parity import Check
from edgekit.stages.blockwise import dequantize, quantize_rows, signed
from edgekit.stages.products import Matrix
from edgekit.stages.quantize import column_scales, symmetric
from edgekit.stages.rounding import ROWS_AT_ONCE, Rounded, errors_and_steps, output_errors

NO_WORSE: Final = 1 + 1e-3  # than nearest rounding, and the rounding of float32 sums
SCALE_OFF: Final = 5e-3  # share of a scale; descent leaves less than half of it
_FLOOR: Final = 1e-6  # of a row's own energy: an error below it is none


@dataclass(frozen=True, slots=True)
class RoundingReport:
    """What calibrated weights were found to be; zeros where there are none.

    Attributes:
        weights: How many were checked.
        worst_error: Largest error of an output row, as a multiple of nearest rounding's.
        worst_scale: Largest distance of a block's scale from its least-squares value, as a share of it.
    """

    weights: int = 0
    worst_error: float = 0
    worst_scale: float = 0

    def joined(self, other: RoundingReport) -> RoundingReport:
        """Of both; NaN counts as the worst."""
        return RoundingReport(
            self.weights + other.weights,
            float(np.maximum(self.worst_error, other.worst_error)),
            float(np.maximum(self.worst_scale, other.worst_scale)),
        )

    def checks(self) -> tuple[Check, ...]:
        """As checks of a verdict; none where nothing is calibrated."""
        if not self.weights:
            return ()
        return (
            Check("output error against nearest rounding", self.worst_error, NO_WORSE, self.worst_error <= NO_WORSE),
            Check("block scales off least squares", self.worst_scale, SCALE_OFF, self.worst_scale <= SCALE_OFF),
        )


def check_rounding(rows: Matrix, stored: Matrix, scales: Matrix, moment: Matrix) -> RoundingReport:
    """Check one weight.

    Args:
        rows: The original, float32 (outputs, inputs).
        stored: uint8 (outputs, blocks, bytes), as ``MatMulNBits`` reads them.
        scales: float32 (outputs, blocks).
        moment: Second moment of the inputs, damped, float32 (inputs, inputs).
    """
    if not np.isfinite(scales).all() or (scales == 0).any():
        return RoundingReport(1, float("inf"), float("inf"))
    bits = 8 * stored[0].size // rows.shape[1]
    found = RoundingReport(1)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        integers = signed(stored[part], bits).astype(np.int8).reshape(rows[part].shape)
        errors, steps = errors_and_steps(rows[part], Rounded(integers, scales[part]), moment)
        nearest = dequantize(*quantize_rows(rows[part], bits, rows.shape[1] // scales.shape[1]), bits).T
        floor = _FLOOR * output_errors(rows[part], np.zeros_like(rows[part]), moment) + 1e-30
        share = (errors + floor) / (output_errors(rows[part], nearest, moment) + floor)
        found = found.joined(RoundingReport(0, float(share.max()), float(np.abs(steps).max())))
    return found


def check_columns(matrix: Matrix, integers: Matrix, scale: Matrix, moment: Matrix) -> RoundingReport:
    """Check a weight of int8 columns.

    Args:
        matrix: The original, smoothed as the stored one is, float32 (inputs, outputs).
        integers: int8 (inputs, outputs).
        scale: float32 (outputs,).
        moment: Second moment of the inputs, damped and smoothed, float32 (inputs, inputs).
    """
    if integers.shape != matrix.shape or scale.shape != matrix.shape[1:]:
        return RoundingReport(1, float("inf"), float("inf"))
    if not np.isfinite(scale).all() or (scale <= 0).any():
        return RoundingReport(1, float("inf"), float("inf"))
    rows = np.ascontiguousarray(matrix.T)
    rounded = Rounded(np.ascontiguousarray(integers.T), scale[:, None])
    errors, steps = errors_and_steps(rows, rounded, moment)
    nearest, steps_of_nearest = symmetric(matrix, column_scales(matrix))
    plain = output_errors(rows, (nearest * steps_of_nearest).T, moment)
    floor = _FLOOR * output_errors(rows, np.zeros_like(rows), moment) + 1e-30
    return RoundingReport(1, float(((errors + floor) / (plain + floor)).max()), float(np.abs(steps).max()))
