"""Optimize: rewrites of the float graph that change no answer, before any recipe sees it.

Each pass is named, returns how often it matched, and matches whole patterns only: what looks
different is left alone. :func:`edgekit.stages.evaluate.check_export` judges the result against the
original to within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgekit.stages.attention import attentions, fuse_attention
from edgekit.stages.products import (
    Product,
    bias_of,
    constant,
    drop_unused_initializers,
    initializer,
    only_consumer,
    producer,
    products,
)

_LOWEST: Final = float(np.finfo(np.float32).min)


def optimize(model: ir.Model) -> Mapping[str, int]:
    """Run every pass, in place.

    Returns:
        How often each matched, by the pass's name.
    """
    matched = {
        "keys transposed at once": transpose_keys_at_once(model.graph),
        "attention guards dropped": drop_attention_guards(model.graph),
        "products packed": pack_products(model.graph),
    }
    _drop_unused(model)
    return matched


def optimize_for_cpu(model: ir.Model) -> Mapping[str, int]:
    """Run the passes whose nodes only ONNX Runtime's CPU kernels pay for, in place; see :mod:`.attention`.

    Returns:
        How often each matched, by the pass's name, and how many attentions it left as they were.
    """
    fused = fuse_attention(model)
    _drop_unused(model)
    return {"attention fused": fused, "attention left in parts": attentions(model.graph)}


def _drop_unused(model: ir.Model) -> None:
    RemoveUnusedNodesPass()(model)
    drop_unused_initializers(model.graph)


def transpose_keys_at_once(graph: ir.Graph) -> int:
    """Keys from (batch, sequence, heads, size) to (batch, heads, size, sequence) in one ``Transpose``.

    torch's lowering flattens batch and heads, swaps the last two axes and restores them, with nine
    nodes of shape arithmetic a layer.
    """
    count = 0
    for swap in [node for node in graph if _permutes(node, (0, 2, 1))]:
        flatten, restore = producer(swap.inputs[0]), only_consumer(swap.outputs[0])
        if flatten is None or restore is None or flatten.op_type != "Reshape" or restore.op_type != "Reshape":
            continue
        heads_first = producer(flatten.inputs[0])
        if heads_first is None or not _permutes(heads_first, (0, 2, 1, 3)) or not _swaps_last_two(flatten, restore):
            continue
        node = ir.node("Transpose", [heads_first.inputs[0]], {"perm": [0, 2, 3, 1]})
        _take_over(graph, restore, node)
        count += 1
    return count


def drop_attention_guards(graph: ir.Graph) -> int:
    """Drop the ``Where`` that zeroes rows of attention whose keys are all masked.

    The exporter adds it for masks of minus infinity, where such a row is NaN. Here masked scores are
    float32's lowest number, which a softmax survives, and pooling leaves masked rows out.
    """
    count = 0
    for node in [node for node in graph if node.op_type == "Where"]:
        condition, zero, attention = node.inputs
        if attention is None or not _is_row_count_below_one(condition) or not _is_scalar(zero, 0):
            continue
        product = producer(attention)
        softmax = producer(product.inputs[0]) if product is not None and product.op_type == "MatMul" else None
        if softmax is None or softmax.op_type != "Softmax" or not _masks_with_lowest(softmax):
            continue
        ir.convenience.replace_all_uses_with(node.outputs[0], attention)
        graph.remove(node, safe=True)
        count += 1
    return count


def pack_products(graph: ir.Graph) -> int:
    """Run products of one input that have biases, such as query, key and value, as one, and split its result.

    Returns:
        The number of packs.
    """
    by_input: dict[str, list[tuple[Product, ir.Node]]] = {}
    for product in products(graph):
        bias = bias_of(product)
        if bias is not None and len(list(product.weight.uses())) == 1:
            by_input.setdefault(product.x.name or "", []).append((product, bias))
    packs = [members for members in by_input.values() if len(members) > 1]
    for members in packs:
        _pack(graph, members)
    return len(packs)


def _pack(graph: ir.Graph, members: list[tuple[Product, ir.Node]]) -> None:
    first = members[0][0]
    name = "+".join(product.name for product, _ in members)
    weight = initializer(graph, name, np.concatenate([product.matrix() for product, _ in members], axis=1))
    biases = [constant(_constant_input(add)) for _, add in members]
    bias = initializer(graph, f"{name}.bias", np.concatenate(biases))
    sizes = initializer(graph, f"{name}.sizes", np.array([len(values) for values in biases], np.int64))
    together = ir.node("MatMul", [first.x, weight])
    biased = ir.node("Add", [together.outputs[0], bias])
    split = ir.node("Split", [biased.outputs[0], sizes], {"axis": -1}, num_outputs=len(members))
    for node, what in ((together, "product"), (biased, "biased")):
        node.name = node.outputs[0].name = f"{name}.{what}"
    split.name = f"{name}.split"
    graph.insert_before(first.node, [together, biased, split])
    for part, (product, add) in zip(split.outputs, members, strict=True):
        old = add.outputs[0]
        part.name, part.shape, part.type = f"{old.name}.part", old.shape, old.type
        ir.convenience.replace_all_uses_with(old, part)
        graph.remove([add, product.node], safe=True)


def _constant_input(node: ir.Node) -> ir.Value:
    return next(value for value in node.inputs if value is not None and value.const_value is not None)


def _take_over(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    new.name, output = old.name, old.outputs[0]
    ir.convenience.replace_nodes_and_values(graph, old, [old], [new], [output], [new.outputs[0]])


def _swaps_last_two(flatten: ir.Node, restore: ir.Node) -> bool:
    """Whether ``flatten`` makes (-1, s, d) of (b, h, s, d), and ``restore`` (b, h, d, s) of the swapped."""
    x = flatten.inputs[0]
    flat, full = _concat_parts(flatten.inputs[1]), _concat_parts(restore.inputs[1])
    if x is None or flat is None or full is None or len(flat) != 3 or len(full) != 3:
        return False
    third, last = _slice_of_shape(flat[1], x), _slice_of_shape(flat[2], x)
    leading = _slice_of_shape(full[0], x)
    return (
        _is_scalar(flat[0], -1)
        and (third, last) == ((2, 3), (3, 4))
        and leading == (0, 2)
        and full[1] is flat[2]
        and full[2] is flat[1]
    )


def _concat_parts(value: ir.Value | None) -> list[ir.Value | None] | None:
    node = producer(value)
    return list(node.inputs) if node is not None and node.op_type == "Concat" else None


def _slice_of_shape(value: ir.Value | None, x: ir.Value) -> tuple[int, int] | None:
    """The axes (from, to) of a rank 4 value's shape that a ``Slice`` takes, or None."""
    node = producer(value)
    if node is None or node.op_type != "Slice" or len(node.inputs) != 3:
        return None
    shape = producer(node.inputs[0])
    starts, ends = node.inputs[1], node.inputs[2]
    if shape is None or shape.op_type != "Shape" or shape.inputs[0] is not x or starts is None or ends is None:
        return None
    if starts.const_value is None or ends.const_value is None:
        return None
    start, stop, _ = slice(int(constant(starts).item()), int(constant(ends).item())).indices(4)
    return start, stop


def _is_row_count_below_one(value: ir.Value | None) -> bool:
    less = producer(value)
    if less is None or less.op_type != "Less" or not _is_scalar(less.inputs[1], 1):
        return False
    total = producer(less.inputs[0])
    return total is not None and total.op_type == "ReduceSum"


def _masks_with_lowest(softmax: ir.Node) -> bool:
    add = producer(softmax.inputs[0])
    if add is None or add.op_type != "Add":
        return False
    masks = [producer(value) for value in add.inputs]
    return any(
        mask is not None and mask.op_type == "Mul" and any(_is_scalar(value, _LOWEST) for value in mask.inputs)
        for mask in masks
    )


def _is_scalar(value: ir.Value | None, expected: float) -> bool:
    if value is None or value.const_value is None or value.const_value.size != 1:
        return False
    return float(constant(value).item()) == expected


def _permutes(node: ir.Node, axes: tuple[int, ...]) -> bool:
    return node.op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) == axes
