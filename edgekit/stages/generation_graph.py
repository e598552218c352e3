"""Rewrites of exported generation graphs, each for one fault that was seen."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.products import initializer

CAPACITY: Final = "capacity"

_MICROSOFT: Final = "com.microsoft"
_PAST_KEY, _CACHES, _ROTARY_INPUTS = 3, slice(7, 9), range(7, 10)


def rotate_before_attention(model: ir.Model) -> int:
    """Take the rotary embedding out of every ``GroupQueryAttention`` without a past, in place.

    On its first call of a sequence ONNX Runtime's CPU kernel reads the position ids' first number alone and rotates
    every row like the first, seen with 1.32: a batch padded on the left gets wrong keys into its cache. The operator
    ``RotaryEmbedding`` reads all of them.

    Returns:
        The number of attentions changed.

    Raises:
        ExportError: An attention has no key output of known head size.
    """
    graph = model.graph
    changed = 0
    for node in list(graph):
        if node.op_type != "GroupQueryAttention" or node.attributes.get_int("do_rotary", 0) != 1:
            continue
        if node.inputs[_PAST_KEY] is not None:
            continue
        heads, key_heads = node.attributes.get_int("num_heads"), node.attributes.get_int("kv_num_heads")
        query, key, value = node.inputs[:3]
        if key is None or value is None:
            query, key, value = _unpack(graph, node, heads, key_heads)
        positions, caches = node.inputs[9], node.inputs[_CACHES]
        rotated: list[ir.Value] = []
        for states in (query, key):
            rotation = ir.node(
                "RotaryEmbedding",
                [states, positions, *caches],
                {"interleaved": node.attributes.get_int("rotary_interleaved", 0)},
                domain=_MICROSOFT,
            )
            rotation.outputs[0].name = f"{node.outputs[1].name}.rotated_{len(rotated)}"
            graph.insert_before(node, rotation)
            rotated.append(rotation.outputs[0])
        for index, operand in enumerate((*rotated, value)):
            node.replace_input_with(index, operand)
        for index in _ROTARY_INPUTS:
            node.replace_input_with(index, None)
        for name in ("do_rotary", "rotary_interleaved"):
            node.attributes.pop(name, None)
        changed += 1
    return changed


def cache_in_place(model: ir.Model) -> bool:
    """Let a decoding graph append to a cache that lies in a longer buffer, in place where it can.

    ``GroupQueryAttention`` writes new keys and values where ``seqlens_k`` says and leaves the rest as it is, and copies
    nothing where past and present are the same memory. The exporter takes all lengths from the past's, which then is
    the buffer's; here they come from the width of ``attention_mask``. The third size of past and present is named
    ``capacity`` in such a graph: any length from the mask's width less one on.

    Returns:
        Whether every past is read by such attention alone, so that it was done.
    """
    graph = model.graph
    pasts = [value for value in graph.inputs if (value.name or "").startswith("past.")]
    masks = [value for value in graph.inputs if value.name == "attention_mask"]
    uses = [(node, place) for past in pasts for node, place in past.uses()]
    if not pasts or not masks or not all(_is_cache_use(node, place) for node, place in uses):
        return False
    lengths = dict.fromkeys(node for node, _ in uses if node.op_type == "Shape" and _axes_of(node) == (2, 3))
    if lengths:
        one = initializer(graph, "past.new", np.array([1], np.int64))
        width = ir.node("Shape", [masks[0]], {"start": 1, "end": 2})
        past = ir.node("Sub", [width.outputs[0], one])
        width.outputs[0].name, past.outputs[0].name = "past.width", "past.length"
        first = next(node for node in graph if node in lengths)
        graph.insert_before(first, [width, past])
        for node in lengths:
            ir.convenience.replace_all_uses_with(node.outputs[0], past.outputs[0])
            graph.remove(node, safe=True)
    for value in (*pasts, *(value for value in graph.outputs if (value.name or "").startswith("present."))):
        if value.shape is not None:
            value.shape = ir.Shape([*value.shape[:2], CAPACITY, *value.shape[3:]])
    return True


def _is_cache_use(node: ir.Node, place: int) -> bool:
    if node.op_type == "Shape":
        return _axes_of(node) in ((0, 1), (1, 2), (2, 3), (3, 4))
    return node.op_type == "GroupQueryAttention" and place in (_PAST_KEY, _PAST_KEY + 1)


def _axes_of(shape: ir.Node) -> tuple[int, int]:
    return shape.attributes.get_int("start", 0), shape.attributes.get_int("end", 4)


def _unpack(graph: ir.Graph, node: ir.Node, heads: int, key_heads: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    shape = node.outputs[1].shape
    if shape is None or not isinstance(shape[3], int):
        raise ExportError(f"{node.name}: the head size of its keys is unknown: {shape}")
    sizes = np.array([heads, key_heads, key_heads], np.int64) * shape[3]
    lengths = initializer(graph, f"{node.outputs[1].name}.sizes", sizes)
    split = ir.node("Split", [node.inputs[0], lengths], {"axis": -1}, num_outputs=3)
    for index, output in enumerate(split.outputs):
        output.name = f"{node.outputs[1].name}.packed_{index}"
    graph.insert_before(node, split)
    query, key, value = split.outputs
    return query, key, value
