"""Embedding tables in blocks of integers, shared with the head that reads the same numbers.

A language model's table, (vocabulary, hidden), is often its head too. ``GatherBlockQuantized`` takes rows from what
``MatMulNBits`` multiplies with, byte for byte, so a tied table stays stored once.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.stages.blockwise import (
    DOMAIN,
    Rounding,
    fitting_block,
    product_node,
    quantize_nearest,
    signed,
)
from edgekit.stages.ladder import BITS, BLOCK
from edgekit.stages.products import Matrix, constant, drop_unused_initializers, replace, shared_initializer
from edgekit.stages.quantize import ROWS_MIN_BYTES

ROWS: Final = ".rows"  # (rows, bytes), as a table
BLOCKS: Final = ".row_blocks"  # the same bytes as (rows, blocks, bytes), as a product's weight
SCALE: Final = ".row_scale"
FACTOR: Final = ".head_factor"  # where the head scales its logits


def quantize_tables(
    model: ir.Model, *, bits: int = BITS, block: int = BLOCK, rounding: Rounding = quantize_nearest
) -> int:
    """Store float tables that rows are gathered from, or that are multiplied with transposed, in blocks, in place.

    A small table that is only gathered from is left alone.

    Args:
        model: The float graph.
        bits: Of a number: 4 or 8.
        block: Numbers that share a scale; halved, down to 32, for a table whose width is no multiple of it.
        rounding: How integers and scales are chosen.

    Returns:
        The number of tables quantized.
    """
    graph = model.graph
    tables = [value for value in graph.initializers.values() if _is_table(value)]
    for table in tables:
        rows = constant(table)
        size, name = fitting_block(rows.shape[1], block), table.name or ""
        integers, scales = rounding(name, rows, bits, size)
        for node, _ in list(table.uses()):
            if node.op_type == "Gather":
                _gather(graph, node, name, integers, scales, (bits, size))
            else:
                _multiply(graph, node, name, integers, scales, (bits, size))
    if tables:
        graph.opset_imports[DOMAIN] = 1
        drop_unused_initializers(graph)
    return len(tables)


def table_products(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """The float tables that rows are gathered from and that are multiplied with, each with what it multiplies."""
    tables = [value for value in graph.initializers.values() if _is_table(value)]
    return [
        (table, node.inputs[0])
        for table in tables
        for node, place in table.uses()
        if _use(node, place) == "product" and node.inputs[0] is not None
    ]


def split_gemms(model: ir.Model) -> int:
    """Every plain ``Gemm`` with constant weights as ``MatMul`` and ``Add``, which recipes know, in place.

    Returns:
        How many there were.
    """
    graph, count = model.graph, 0
    for node in [node for node in graph if node.op_type == "Gemm"]:
        x, weight, *bias = node.inputs
        if weight is None or weight.const_value is None or not _is_plain(node):
            continue
        product = ir.node("MatMul", [x, weight])
        if bias and bias[0] is not None:
            product.outputs[0].type = node.outputs[0].type
            replace(graph, node, {"product": product}, ir.node("Add", [product.outputs[0], bias[0]]))
        else:
            replace(graph, node, {}, product)
        count += 1
    drop_unused_initializers(graph)
    return count


def _is_plain(gemm: ir.Node) -> bool:
    attributes = gemm.attributes
    scaled = any(attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    return not scaled and not any(attributes.get_int(name, 0) == 1 for name in ("transA", "transB"))


def _is_table(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2 or not value.uses():
        return False
    if constant(value).shape[1] % BLOCK or value.is_graph_output():
        return False
    kinds = {_use(node, place) for node, place in value.uses()}
    return kinds == {"rows", "product"} or (kinds == {"rows"} and tensor.nbytes >= ROWS_MIN_BYTES)


def _use(node: ir.Node, place: int) -> str:
    attributes = node.attributes
    if node.op_type == "Gather" and place == 0 and attributes.get_int("axis", 0) == 0:
        return "rows"
    turned = any(attributes.get_int(name, 0) == 1 for name in ("transA", "transBatchA", "transBatchB"))
    if node.op_type == "FusedMatMul" and place == 1 and attributes.get_int("transB", 0) == 1 and not turned:
        return "product"
    return "other"


def _gather(graph: ir.Graph, node: ir.Node, name: str, integers: Matrix, scales: Matrix, form: tuple[int, int]) -> None:
    bits, block = form
    rows = shared_initializer(graph, name + ROWS, integers.reshape(len(integers), -1))
    operands = [rows, node.inputs[1], shared_initializer(graph, name + SCALE, scales)]
    attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": block, "bits": bits}
    replace(graph, node, {}, ir.node("GatherBlockQuantized", operands, attributes, domain=DOMAIN))


def _multiply(
    graph: ir.Graph, node: ir.Node, name: str, integers: Matrix, scales: Matrix, form: tuple[int, int]
) -> None:
    bits, block = form
    blocks = shared_initializer(graph, name + BLOCKS, integers)
    operands = [node.inputs[0], blocks, shared_initializer(graph, name + SCALE, scales)]
    product = product_node(operands, scales.shape[1] * block, len(scales), bits, block)
    factor = node.attributes.get_float("alpha", 1.0)
    if factor == 1.0:
        replace(graph, node, {}, product)
        return
    product.outputs[0].type = node.outputs[0].type
    scale = shared_initializer(graph, f"{name}{FACTOR}", np.array(factor, np.float32))
    replace(graph, node, {"product": product}, ir.node("Mul", [product.outputs[0], scale]))


def signed_rows(integers: Matrix, scales: Matrix, width: int) -> Matrix:
    """The signed integers of a table, int16 (rows, blocks, block), from either stored form.

    Args:
        integers: uint8, as rows or as blocks.
        scales: float32 (rows, blocks).
        width: Numbers in a row: two share a byte where a row has half as many bytes.
    """
    return signed(integers.reshape(*scales.shape, -1), 8 * (integers[0].size) // width)
