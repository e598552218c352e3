"""Half: a float graph in float16, but for its inputs, its outputs and the nodes that :mod:`.overflow` spares.

ONNX Runtime's own ``onnxruntime.transformers.float16`` is not used: it finds the borders of its block list from the
types that ONNX infers, so it leaves them out where an operator is ONNX Runtime's own; it moves constants that are
shared with a spared node to float16 too, and it writes 6e-8 for smaller ones, so that a file's constants cannot be
checked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.overflow import Overflow, node_key, replace_masks
from edgekit.stages.products import constant, drop_unused_initializers, initializer

HALF: Final = ".half"
_FLOAT16: Final = "tensor(float16)"

# ONNX Runtime's own operators, which onnx.defs does not describe: those that take float16 in every float place, and
# give it in all but those of _IN_FLOAT.
_OWN: Final = frozenset(
    {
        "Attention",
        "BiasGelu",
        "FastGelu",
        "FusedMatMul",
        "Gelu",
        "GroupQueryAttention",
        "MatMulNBits",
        "MultiHeadAttention",
        "QuickGelu",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
# Outputs that are float32 whatever goes in: a norm's mean and inverse deviation.
_IN_FLOAT: Final = {
    "SimplifiedLayerNormalization": frozenset({1}),
    "SkipLayerNormalization": frozenset({1, 2}),
    "SkipSimplifiedLayerNormalization": frozenset({1, 2}),
}


def to_half(model: ir.Model, overflow: Overflow) -> dict[str, int]:
    """Convert a graph in place.

    Args:
        model: The float graph that ``overflow`` was measured on.
        overflow: Its float values, and the nodes that stay in float32.

    Returns:
        How many nodes are float16, how many were spared, and how many masks were rewritten.

    Raises:
        ExportError: Not one node could be converted.
    """
    masks = replace_masks(model.graph)
    work = _Conversion(model.graph, overflow.floats)
    versions = dict(model.graph.opset_imports)
    halved = spared = 0
    for node in list(model.graph):
        if node_key(node) in overflow.spared:
            work.keep(node)
            spared += 1
            continue
        places = _half_places(node, versions.get(node.domain, 1))
        halved += work.halve(node, places) if places else work.keep(node)
    if not halved:
        raise ExportError("fp16: no node of the graph can be float16")
    work.restore_outputs()
    drop_unused_initializers(model.graph)
    return {"nodes float16": halved, "nodes spared for their range": spared, "masks kept finite": masks}


@dataclass(frozen=True, slots=True)
class _Places:
    """Which inputs and outputs of a node may be float16."""

    inputs: frozenset[int]
    outputs: frozenset[int]


class _Conversion:
    """The graph while its values are one by one given a second form."""

    def __init__(self, graph: ir.Graph, floats: frozenset[str]) -> None:
        self._graph = graph
        self._floats = floats
        self._other: dict[ir.Value, ir.Value] = {}  # the form a value was not made in

    def halve(self, node: ir.Node, places: _Places) -> bool:
        """Let a node compute in float16; whether it does, which one without any float value does not."""
        touched = False
        for index, value in enumerate(node.inputs):
            if value is not None and self._is_float(value):
                wanted = ir.DataType.FLOAT16 if index in places.inputs else ir.DataType.FLOAT
                node.replace_input_with(index, self._as(value, wanted))
                touched |= wanted == ir.DataType.FLOAT16
        for index, value in enumerate(node.outputs):
            if value.name in self._floats and index in places.outputs:
                value.type = ir.TensorType(ir.DataType.FLOAT16)
                touched = True
        if touched and node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
        return touched

    def keep(self, node: ir.Node) -> bool:
        """Let a node compute in float32."""
        for index, value in enumerate(node.inputs):
            if value is not None and self._is_float(value):
                node.replace_input_with(index, self._as(value, ir.DataType.FLOAT))
        return False

    def restore_outputs(self) -> None:
        """Give the graph's float outputs in float32 under their own names."""
        for index, value in enumerate(self._graph.outputs):
            if value.name in self._floats and value.dtype == ir.DataType.FLOAT16:
                name, shape = value.name, value.shape
                result = self._as(value, ir.DataType.FLOAT)
                value.name = f"{name}{HALF}"
                result.name, result.shape = name, shape
                self._graph.outputs[index] = result

    def _is_float(self, value: ir.Value) -> bool:
        if value.const_value is not None:
            return value.const_value.dtype == ir.DataType.FLOAT
        return value.name in self._floats

    def _as(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        is_half = value.const_value is None and value.dtype == ir.DataType.FLOAT16
        if is_half == (wanted == ir.DataType.FLOAT16):
            return value
        if value not in self._other:
            self._other[value] = self._halved(value) if value.const_value is not None else self._cast(value, wanted)
        return self._other[value]

    def _halved(self, value: ir.Value) -> ir.Value:
        with np.errstate(over="ignore"):  # what is out of range was spared; the weight check refuses infinities
            half = constant(value).astype(np.float16)
        return initializer(self._graph, f"{value.name}{HALF}", half)

    def _cast(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        cast = ir.node("Cast", [value], {"to": wanted})
        result = cast.outputs[0]
        cast.name = result.name = f"{value.name}{HALF if wanted == ir.DataType.FLOAT16 else '.float'}"
        result.type, result.shape = ir.TensorType(wanted), value.shape
        producer = value.producer()
        if producer is not None:
            self._graph.insert_after(producer, cast)
        else:
            self._graph.insert_before(self._graph[0], cast)
        return result


def _half_places(node: ir.Node, version: int) -> _Places | None:
    """Where a node may take and give float16, by its schema; None where it must stay as it is."""
    if node.op_type in _OWN and (node.domain == "com.microsoft" or node.op_type == "SimplifiedLayerNormalization"):
        outputs = frozenset(range(len(node.outputs))) - _IN_FLOAT.get(node.op_type, frozenset())
        return _Places(frozenset(range(len(node.inputs))), outputs)
    if node.op_type == "Cast":
        to_float = node.attributes.get_int("to", 0) == ir.DataType.FLOAT
        return _Places(frozenset({0}), frozenset({0})) if to_float else None
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None
    inputs = frozenset(_fitting(schema, schema.inputs, len(node.inputs)))
    outputs = frozenset(_fitting(schema, schema.outputs, len(node.outputs)))
    # What makes floats of nothing (ConstantOfShape, RandomNormalLike) says their type in an attribute: left alone.
    return _Places(inputs, outputs) if inputs and "dtype" not in node.attributes else None


def _fitting(
    schema: onnx.defs.OpSchema, formal: Sequence[onnx.defs.OpSchema.FormalParameter], count: int
) -> Iterator[int]:
    constraints = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
    for index in range(count):
        parameter = formal[min(index, len(formal) - 1)]  # a variadic one is the last
        if _FLOAT16 in constraints.get(parameter.type_str, [parameter.type_str]):
            yield index
