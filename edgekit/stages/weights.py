"""Check the weights of a variant's file against the float graph's, number by number.

Answers alone cannot show a small fault: one scale off by a percent moves an embedding less than
quantizing does. So every constant of the float graph must be found in the shipped file, either unchanged, or
as the float16 nearest to it, or as integers that lie within half a step of it, and the file may hold no
other constant, such as a zero point. Weights that calibrated rounding moved farther on purpose are held to what it
promises instead, see :mod:`.rounded_weights`. The file is read back from disk and dequantized here, independently
of the passes that wrote it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.spec.parity import Check
from edgekit.stages import (
    block_tables,
    blockwise,
    component_files,
    half,
    overflow,
    quantize,
    static_int8,
)
from edgekit.stages.moments import Moments
from edgekit.stages.products import Matrix, constant
from edgekit.stages.rounded_weights import RoundingReport, check_columns, check_rounding

# Half a step, and the rounding of two float32 operations on values up to 127 steps.
HALF_STEP: Final = 0.5 + 1e-3
PAIR_LIMIT: Final = quantize.PAIR_LIMIT


@dataclass(frozen=True, slots=True)
class WeightReport:
    """What a file's constants were found to be.

    Attributes:
        worst_step: Largest distance of a dequantized weight from the original, in steps of its scale.
        worst_name: The weight where it is.
        quantized: Number of weights stored as integers.
        same: Number stored unchanged or as the nearest float16.
        changed: Names of constants that are neither, and of those that do not come from the original.
        largest_pair: Largest sum of two neighbouring int8 weights multiplied by uint8 activations.
        rounding: What calibrated rounding did, where it did.
    """

    worst_step: float
    worst_name: str
    quantized: int
    same: int
    changed: tuple[str, ...]
    largest_pair: int
    rounding: RoundingReport = field(default_factory=RoundingReport)

    @property
    def saturates(self) -> bool:
        """Whether x86 without VNNI may answer wrongly: a pair of products can exceed 16 bits."""
        return self.largest_pair > PAIR_LIMIT

    def checks(self, *, saturating_target: bool) -> tuple[Check, ...]:
        """The report as checks of a verdict; the last one only where a target's products saturate."""
        worst = Check("weight distance in steps", self.worst_step, HALF_STEP, self.worst_step <= HALF_STEP)
        changed = Check("changed constants", len(self.changed), 0, not self.changed)
        pair = Check("int8 pair sum", self.largest_pair, PAIR_LIMIT, not self.saturates)
        return (worst, changed, *self.rounding.checks(), *((pair,) if saturating_target else ()))


def compare_weights(variant: Path, fp32: Path, moments: Moments | None = None) -> WeightReport:
    """Compare the constants of a variant's graphs with the float graphs'.

    Args:
        variant: Folder of the shipped files.
        fp32: Folder of the float graphs that it was made from.
        moments: What the variant's rounding was calibrated with; weights that it has none of, and all where None, are
            held to half a step.

    Raises:
        ExportError: A quantized product lacks its scale, or its operands do not fit together.
    """
    files = sorted(path.name for path in fp32.glob(component_files.graph_file("*")))
    reports = [_compare(ir.load(variant / name), ir.load(fp32 / name).graph, moments) for name in files]
    worst = max(reports, key=lambda report: math.inf if math.isnan(report.worst_step) else report.worst_step)
    return WeightReport(
        worst_step=worst.worst_step,
        worst_name=worst.worst_name,
        quantized=sum(report.quantized for report in reports),
        same=sum(report.same for report in reports),
        changed=tuple(name for report in reports for name in report.changed),
        largest_pair=max(report.largest_pair for report in reports),
        rounding=reduce(RoundingReport.joined, (report.rounding for report in reports)),
    )


def _compare(model: ir.Model, float_graph: ir.Graph, moments: Moments | None) -> WeightReport:
    original = _constants(float_graph)
    found = _constants(model.graph)
    worst, worst_name, quantized, same = 0.0, "", 0, 0
    changed = []
    rounding = RoundingReport()
    for name, array in original.items():
        copies = {form: expected for form, expected in _copies(name, array) if form in found}
        if copies:
            unchanged = all(
                found[form].dtype == expected.dtype and np.array_equal(found[form], expected)
                for form, expected in copies.items()
            )
            same += unchanged
            if not unchanged:
                changed.append(name)
            continue
        checked = _columns(name, array, found, moments) or _rounding(name, array, found, moments)
        if checked is not None:
            rounding = rounding.joined(checked)
            quantized += 1
            continue
        distance = _distance(model.graph, name, array, found)
        if distance is None:
            changed.append(name)
            continue
        quantized += 1
        if not distance <= worst:  # NaN counts as the worst
            worst, worst_name = distance, name
    known = {name + suffix for name in original for suffix in _SUFFIXES}
    known |= {form for name, array in original.items() for form, _ in _copies(name, array)}
    known |= {name for name, array in found.items() if _is_static(name, array)}
    changed += [name for name in found if name not in known and not name.endswith(block_tables.FACTOR)]
    return WeightReport(worst, worst_name, quantized, same, tuple(changed), _largest_pair(model.graph), rounding)


def _constants(graph: ir.Graph) -> dict[str, Matrix]:
    return {name: constant(value) for name, value in graph.initializers.items()}


def _rounding(
    name: str, original: Matrix, found: Mapping[str, Matrix], moments: Moments | None
) -> RoundingReport | None:
    """What calibrated rounding did to a weight; None where it did not."""
    moment = moments.of(name) if moments is not None else None
    form = _stored_as(name, found)
    if moment is None or form not in (_BLOCKS, _ROWS, _ROW_BLOCKS):
        return None
    stored, scales = found[name + form.integers], found[name + form.scale]
    if form is _ROWS and not _twin_is_same(name, found):
        return RoundingReport(1, math.inf, math.inf)
    rows = np.ascontiguousarray(original.T) if form is _BLOCKS else original
    return check_rounding(rows, stored.reshape(*scales.shape, -1), scales, moment)


def _columns(
    name: str, original: Matrix, found: Mapping[str, Matrix], moments: Moments | None
) -> RoundingReport | None:
    """What calibrated rounding did to a weight of int8 columns; None where it did not."""
    moment = moments.of(name) if moments is not None else None
    integers, scale = found.get(name + _INT8.integers), found.get(name + _INT8.scale)
    if moment is None or integers is None or scale is None:
        return None
    return check_columns(original, integers, scale, moment)


def _twin_is_same(stored: str, found: Mapping[str, Matrix]) -> bool:
    """Whether a table's rows are byte for byte what the head multiplies with, where there is such a head."""
    twin = found.get(stored + _ROW_BLOCKS.integers)
    return twin is None or np.array_equal(twin.reshape(len(twin), -1), found[stored + _ROWS.integers])


def _copies(name: str, array: Matrix) -> Iterator[tuple[str, Matrix]]:
    """The forms that hold a constant as it is: in float32, with a mask's minus infinity finite, and both in float16."""
    yield name, array
    if array.dtype != np.float32:
        return
    lowest = np.isfinite(array) & (array <= overflow.MASK_FROM)
    forms = {"": array, overflow.MASKED: np.where(lowest, np.float32(overflow.MASK), array)}
    if lowest.any():
        yield name + overflow.MASKED, forms[overflow.MASKED]
    for suffix, values in forms.items():
        with np.errstate(over="ignore"):
            nearest = values.astype(np.float16)
        if np.array_equal(np.isinf(nearest), np.isinf(values)):  # what is beyond float16's range has no form in it
            yield name + suffix + half.HALF, nearest


def _is_static(name: str, array: Matrix) -> bool:
    """Whether a constant is what static quantization of an activation needs: a positive step, or the zero point 0."""
    if name == static_int8.ZERO:
        return array.dtype == np.int8 and not array.any()
    is_step = name.endswith(static_int8.ACTIVATION_SCALE) and array.dtype == np.float32 and array.ndim == 0
    return is_step and bool(np.isfinite(array) and array > 0)


def _distance(graph: ir.Graph, name: str, original: Matrix, found: Mapping[str, Matrix]) -> float | None:
    """Largest distance in steps, or None if the constant is in no form known here."""
    form = _stored_as(name, found)
    if form is None:
        return None
    scale = found[name + form.scale].astype(np.float64)
    if not np.isfinite(scale).all() or (scale <= 0).any():
        return float("inf")
    if form is _BLOCKS:
        integers = found[name + form.integers]
        # Two numbers share a byte where the blocks have half the weight's bytes.
        bits = 8 * integers[0].size // original.shape[0]
        values = blockwise.dequantize(integers, scale, bits)
        step = np.repeat(scale, integers.shape[2] * 8 // bits, axis=1).T
    elif form in (_ROWS, _ROW_BLOCKS):
        integers = block_tables.signed_rows(found[name + form.integers], scale, original.shape[1])
        values = (integers * scale[..., None]).reshape(len(scale), -1)
        step = np.repeat(scale, values.shape[1] // scale.shape[1], axis=1)
        if form is _ROWS and not _twin_is_same(name, found):
            return float("inf")
    else:
        integers = found[name + form.integers]
        scale = _along_outputs(graph, name + form.integers, scale, integers.ndim)
        values = integers.astype(np.float64) * scale
        step = np.broadcast_to(scale, values.shape)
    if values.shape != original.shape:
        raise ExportError(f"{name}: stored with shape {values.shape}, the original has {original.shape}")
    off = np.abs(values - original)
    return float(np.divide(off, step, out=np.where(off > 0, np.inf, 0.0), where=step > 0).max())


@dataclass(frozen=True, slots=True)
class _Form:
    integers: str
    scale: str


_INT8: Final = _Form(quantize.QUANTIZED, quantize.SCALE)
_BLOCKS: Final = _Form(blockwise.QUANTIZED, blockwise.SCALE)
_ROWS: Final = _Form(block_tables.ROWS, block_tables.SCALE)
_ROW_BLOCKS: Final = _Form(block_tables.BLOCKS, block_tables.SCALE)
_FORMS: Final = (_INT8, _BLOCKS, _ROWS, _ROW_BLOCKS)
_SUFFIXES: Final = ("", *(suffix for form in _FORMS for suffix in (form.integers, form.scale)))


def _stored_as(name: str, found: Mapping[str, Matrix]) -> _Form | None:
    for form in _FORMS:
        if name + form.integers in found:
            if name + form.scale not in found:
                raise ExportError(f"{name}: its integers have no scale {name + form.scale}")
            return form
    return None


def _along_outputs(graph: ir.Graph, integers: str, scale: Matrix, rank: int) -> Matrix:
    """A scale per output in the shape that broadcasts, where ``DequantizeLinear`` names its axis; else as it is."""
    node = next(iter(graph.initializers[integers].uses())).node
    if node.op_type != "DequantizeLinear" or scale.ndim != 1:
        return scale
    return scale.reshape([-1 if axis == node.attributes.get_int("axis", 1) else 1 for axis in range(rank)])


def _largest_pair(graph: ir.Graph) -> int:
    largest = 0
    for node in graph:
        if node.op_type in ("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
            weight = node.inputs[1]
            if weight is not None and weight.const_value is not None and weight.const_value.dtype == ir.DataType.INT8:
                largest = max(largest, int(quantize.pair_sums(constant(weight)).max()))
    return largest
