"""Rewrites of a decoder's float graphs that change no answer of a row that counts, before any recipe sees them.

A step of decoding is hundreds of small nodes around a few products, and each costs microseconds whatever it does. What
the exporter's fusions leave between the products and ``GroupQueryAttention`` is taken out here. Query, key and value,
gate and up are packed by the exporter, and the residual add stays fused with the norm that follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgekit.stages.products import constant, drop_unused_initializers, only_consumer

_BIAS: Final = 10  # the input of GroupQueryAttention that is added to its scores
_LOWEST: Final = float(np.finfo(np.float32).min)


def optimize_decoder(model: ir.Model) -> Mapping[str, int]:
    """Run every pass, in place.

    Returns:
        How often each matched, by the pass's name.
    """
    matched = {
        "grouped attention guards dropped": drop_guards(model.graph),
        "round trips through heads dropped": drop_round_trips(model.graph),
    }
    RemoveUnusedNodesPass()(model)
    drop_unused_initializers(model.graph)
    return matched


def drop_guards(graph: ir.Graph) -> int:
    """Drop the ``Where`` that zeroes rows of ``GroupQueryAttention`` whose keys are all masked.

    Such rows are padding. The mask is a bias of float32's lowest number, which a softmax survives, and no row that
    counts attends to padding, so what it holds is read by nobody.
    """
    count = 0
    for attention in [node for node in graph if node.op_type == "GroupQueryAttention"]:
        split = only_consumer(attention.outputs[0])
        guard = only_consumer(split.outputs[0]) if split is not None and _keeps_rows(split) else None
        joined = only_consumer(guard.outputs[0]) if guard is not None and guard.op_type == "Where" else None
        if guard is None or joined is None or joined.op_type != "Reshape" or not _joins_heads(joined):
            continue
        condition, zero, value = guard.inputs
        if split is None or value is not split.outputs[0] or not _is_zero(zero):
            continue
        if not _is_row_count_below_one(condition) or not _masks_with_lowest(attention):
            continue
        ir.convenience.replace_all_uses_with(joined.outputs[0], attention.outputs[0])
        graph.remove([joined, guard, split], safe=True)
        count += 1
    return count


def drop_round_trips(graph: ir.Graph) -> int:
    """Drop reshapes from (batch, length, width) to heads and back with nothing between them, as values have them."""
    count = 0
    for back in [node for node in graph if node.op_type == "Reshape"]:
        there = back.inputs[0].producer() if back.inputs[0] is not None else None
        if there is None or there.op_type != "Reshape" or not _shape_is(back, (0, 0, -1)):
            continue
        whole, heads = there.inputs[0], there.outputs[0]
        if whole is None or not _same_rows(whole.shape, heads.shape):
            continue
        ir.convenience.replace_all_uses_with(back.outputs[0], whole)
        graph.remove(back, safe=True)
        count += 1
    return count


def _same_rows(whole: ir.Shape | None, heads: ir.Shape | None) -> bool:
    """Whether the shapes are (batch, length, width) and (batch, length, heads, size) of one batch and length."""
    if whole is None or heads is None or (len(whole), len(heads)) != (3, 4):
        return False
    known = all(isinstance(size, int) or size.value is not None for size in (*whole[:2], *heads[:2]))
    return known and whole[0] == heads[0] and whole[1] == heads[1]


def _keeps_rows(node: ir.Node) -> bool:
    """Whether it takes (batch, length, width) to (batch, length, heads, size)."""
    if node.op_type != "Reshape" or node.inputs[1] is None or node.inputs[1].const_value is None:
        return False
    sizes = constant(node.inputs[1])
    return len(sizes) == 4 and tuple(sizes[:2]) == (0, 0) and node.attributes.get_int("allowzero", 0) == 0


def _joins_heads(node: ir.Node) -> bool:
    shape = node.outputs[0].shape
    return shape is not None and len(shape) == 3 and isinstance(shape[2], int)


def _shape_is(node: ir.Node, sizes: tuple[int, ...]) -> bool:
    value = node.inputs[1]
    if value is None or value.const_value is None or node.attributes.get_int("allowzero", 0) != 0:
        return False
    return tuple(constant(value)) == sizes


def _is_zero(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and not constant(value).any()


def _is_row_count_below_one(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Transpose":
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "Less" or node.inputs[1] is None or node.inputs[1].const_value is None:
        return False
    total = node.inputs[0].producer() if node.inputs[0] is not None else None
    return total is not None and total.op_type == "ReduceSum" and float(constant(node.inputs[1]).item()) == 1


def _masks_with_lowest(attention: ir.Node) -> bool:
    bias = attention.inputs[_BIAS] if len(attention.inputs) > _BIAS else None
    node = bias.producer() if bias is not None else None
    while node is not None and node.op_type in ("Expand", "Unsqueeze"):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "Mul":
        return False
    factors = [value for value in node.inputs if value is not None and value.const_value is not None]
    arrays = [constant(factor) for factor in factors]
    return any(array.size == 1 and float(array.item()) == _LOWEST for array in arrays)
