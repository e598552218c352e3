"""Static int8: products between ``QuantizeLinear`` and ``DequantizeLinear`` with fixed scales, as TensorRT wants them.

Weights are int8 with a scale per output, activations int8 with one scale for the tensor; both are symmetric (zero point
0), which is the one form that TensorRT's int8 kernels take. An activation's scale is the one with the least squared
error on the calibration inputs: a few outliers are clipped where that buys the rest more steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.inner_session import write_and_open
from edgekit.stages.products import Matrix, constant, drop_unused_initializers, initializer, shared_initializer
from edgekit.stages.quantize import QUANTIZED, SCALE, symmetric
from edgekit.stages.reference import Feeds

ACTIVATION_SCALE: Final = ".static_scale"
ZERO: Final = "static_zero"
INPUTS: Final = 64

# Magnitudes are counted in bins of a sixteenth of an octave from 2^-24 to 2^24.
_PER_OCTAVE: Final = 16
_OCTAVES: Final = 24
_BINS: Final = 2 * _OCTAVES * _PER_OCTAVE
_CENTRES: Final = 2.0 ** ((np.arange(_BINS) + 0.5) / _PER_OCTAVE - _OCTAVES)
_CLIPS_TRIED: Final = 5 * _PER_OCTAVE  # down to a thirty-second of the largest magnitude


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A node with a constant weight: what it multiplies, and the weight's axis that counts its outputs."""

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    axis: int


def activation_scales(model: ir.Model, component: str, batches: Sequence[Feeds], work: Path) -> Mapping[str, float]:
    """The scale of every product's input, by value name.

    Args:
        model: The float graph that :func:`quantize_static` gets.
        component: Its name.
        batches: Calibration inputs.
        work: A folder for the graph that measures.

    Raises:
        ExportError: There are no calibration inputs.
    """
    if not batches:
        raise ExportError("int8-static: no calibration inputs to take ranges from")
    watched = {item.x.name or "": item.x for item in _weighed(model.graph)}
    kept = list(model.graph.outputs)
    inner = [value for value in watched.values() if not value.is_graph_input()]
    model.graph.outputs[:] = inner
    session = write_and_open(model, component, work)
    model.graph.outputs[:] = kept
    names = [value.name or "" for value in inner]
    counts = {name: np.zeros(_BINS) for name in watched}
    largest = dict.fromkeys(watched, 0.0)
    for feeds in batches[:INPUTS]:
        values = dict(zip(names, session.run(names, dict(feeds)), strict=True)) if names else {}
        for name in watched:
            magnitudes = np.abs(values[name] if name in values else feeds[name]).astype(np.float64).ravel()
            counts[name] += _histogram(magnitudes)
            largest[name] = max(largest[name], float(magnitudes.max(initial=0)))
    return {name: _least_error(counts[name], largest[name]) / 127 for name in watched}


def quantize_static(model: ir.Model, scales: Mapping[str, float]) -> int:
    """Put every product with a constant weight between quantizing and dequantizing nodes, in place.

    Args:
        model: The float graph.
        scales: Of activations, from :func:`activation_scales`.

    Returns:
        The number of products.

    Raises:
        ExportError: There is none.
    """
    found = list(_weighed(model.graph))
    if not found:
        raise ExportError("int8-static: no product with constant weights to quantize")
    inputs: dict[str, ir.Value] = {}
    weights: dict[tuple[str, int], ir.Value] = {}
    for item in found:
        name = item.x.name or ""
        if name not in inputs:
            inputs[name] = _quantized_input(model.graph, item, scales[name])
        key = (item.weight.name or "", item.axis)
        if key not in weights:
            weights[key] = _quantized_weight(model.graph, item)
        item.node.replace_input_with(0, inputs[name])
        item.node.replace_input_with(1, weights[key])
    drop_unused_initializers(model.graph)
    return len(found)


def _weighed(graph: ir.Graph) -> Iterator[_Weighed]:
    for node in graph:
        if node.domain != "" or node.op_type not in ("MatMul", "Gemm", "Conv") or len(node.inputs) < 2:
            continue
        x, weight = node.inputs[0], node.inputs[1]
        if x is None or x.const_value is not None or weight is None or weight.const_value is None:
            continue
        turned = {name: node.attributes.get_int(name, 0) for name in ("transA", "transB")}
        if weight.const_value.dtype != ir.DataType.FLOAT or turned["transA"]:
            continue
        transposed = node.op_type == "Conv" or turned["transB"]
        if node.op_type == "Conv" or len(weight.const_value.shape) == 2:
            yield _Weighed(node, x, weight, 0 if transposed else 1)


def _quantized_input(graph: ir.Graph, item: _Weighed, scale: float) -> ir.Value:
    x = item.x
    step = initializer(graph, f"{x.name}{ACTIVATION_SCALE}", np.array(scale, np.float32))
    zero = shared_initializer(graph, ZERO, np.zeros((), np.int8))
    quantize = ir.node("QuantizeLinear", [x, step, zero])
    return _dequantized(graph, item.node, [quantize], [quantize.outputs[0], step, zero], f"{x.name}.static")


def _quantized_weight(graph: ir.Graph, item: _Weighed) -> ir.Value:
    matrix = constant(item.weight)
    others = tuple(axis for axis in range(matrix.ndim) if axis != item.axis)
    integers, scale = symmetric(matrix, np.abs(matrix).max(axis=others, keepdims=True) / 127)
    name = item.weight.name or ""
    stored = initializer(graph, name + QUANTIZED, integers)
    steps = initializer(graph, name + SCALE, scale.ravel())
    return _dequantized(graph, item.node, [], [stored, steps], f"{name}.static", axis=item.axis)


def _dequantized(
    graph: ir.Graph, before: ir.Node, nodes: list[ir.Node], inputs: list[ir.Value], name: str, **attributes: int
) -> ir.Value:
    back = ir.node("DequantizeLinear", inputs, attributes)
    for node, suffix in zip([*nodes, back], (*("quantized" for _ in nodes), "float"), strict=True):
        node.name = node.outputs[0].name = f"{name}.{suffix}"
    graph.insert_before(before, [*nodes, back])
    return back.outputs[0]


def _histogram(magnitudes: Matrix) -> Matrix:
    positive = magnitudes[magnitudes > 0]
    places = np.floor((np.log2(positive) + _OCTAVES) * _PER_OCTAVE).astype(np.int64)
    return np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS).astype(np.float64)


def _least_error(counts: Matrix, largest: float) -> float:
    """The magnitude to clip at, the largest or less: the one with the least squared error over the histogram."""
    if largest <= 0:
        return 1.0
    clips = largest * 2.0 ** (-np.arange(_CLIPS_TRIED) / _PER_OCTAVE)
    errors = [float((counts * _squared_error(clip)).sum()) for clip in clips]
    return float(clips[int(np.argmin(errors))])


def _squared_error(clip: float) -> Matrix:
    step = clip / 127
    # Within range a value is anywhere in its step; below half a step it becomes zero.
    inside = np.where(step / 2 > _CENTRES, _CENTRES**2, step**2 / 12)
    return np.asarray(np.where(clip < _CENTRES, (_CENTRES - clip) ** 2, inside))
