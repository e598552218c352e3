"""Dynamic int8: weights by column, activations by tensor at run time; products that are exact on every CPU.

x86 without VNNI adds the products of two neighbouring rows (2i, 2i+1) of a weight into a signed 16-bit
number that saturates, so the usual full-range int8 file answers wrongly there. The usual cure, 7-bit
weights, assumes that a column's two largest weights are neighbours, which they hardly ever are. Here a
column's scale is chosen so that no two neighbours sum to more than 128: nearly the full range, and no
input can saturate.

Written out as ONNX's own operators (``DynamicQuantizeLinear``, ``MatMulInteger``), which ONNX Runtime
fuses when it opens the file and every other runtime understands. ORT's ``quantize_dynamic`` is not
used because it has one answer for every CPU, and that answer saturates on x86 without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.products import (
    Matrix,
    Product,
    constant,
    drop_unused_initializers,
    products,
    replace,
    shared_initializer,
)

Rounding = Callable[[Product, Matrix, Matrix], tuple[Matrix, Matrix]]
"""From a product, its integers rounded to the nearest (inputs, outputs) and their scales (outputs,), better ones."""

Activation = tuple[ir.Value, ir.Value, ir.Value]
"""What ``DynamicQuantizeLinear`` gives: integers, scale, zero point."""

QUANTIZED: Final = ".int8"
SCALE: Final = ".scale"
ROWS_MIN_BYTES: Final = 1 << 20  # a smaller embedding table is not worth two more nodes


PAIR_LIMIT: Final = 32767 // 255  # 128: what two neighbouring weights may sum to; activations go up to 255


def pair_sums(matrix: Matrix) -> Matrix:
    """The largest magnitude that two neighbouring rows (2i, 2i+1) add up to with one sign, per column.

    Args:
        matrix: Weights of shape (inputs, outputs), integers or floats.

    Returns:
        Shape (outputs,), in ``matrix``'s type (at least 32 bits wide).
    """
    wide = matrix.astype(np.promote_types(matrix.dtype, np.int32)) if matrix.dtype.kind in "iu" else matrix
    if len(wide) % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:1])])
    positive = np.maximum(wide, 0)
    negative = np.maximum(-wide, 0)
    return np.asarray(np.maximum(positive[::2] + positive[1::2], negative[::2] + negative[1::2]).max(axis=0))


def quantize_products(model: ir.Model, *, spare: Collection[str] = (), rounding: Rounding | None = None) -> int:
    """Replace every ``MatMul(x, W)`` with constant ``W`` by its dynamic int8 form, in place.

    Args:
        model: The float graph.
        spare: Names of weights to leave in float.
        rounding: How integers are chosen; to the nearest where None.

    Returns:
        The number of products quantized.

    Raises:
        ExportError: Nothing was quantized.
    """
    spared = frozenset(spare)
    activations: dict[str, Activation] = {}
    matched = [product for product in products(model.graph) if product.name not in spared]
    if not matched:
        raise ExportError(
            "int8-dynamic: no product with constant weights to quantize",
            hint="this architecture needs another recipe: try --recipe fp32",
        )
    for product in matched:
        _quantize_product(model.graph, product, activations, rounding)
    drop_unused_initializers(model.graph)
    return len(matched)


def quantize_embeddings(model: ir.Model) -> int:
    """Store large embedding tables as int8 with one scale a row, in place: a quarter of the size.

    Returns:
        The number of tables quantized.
    """
    count = 0
    for node in list(model.graph):
        if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0:
            continue
        table, ids = node.inputs
        if table is None or ids is None or table.const_value is None or len(table.const_value.shape) != 2:
            continue
        if table.const_value.dtype != ir.DataType.FLOAT or table.const_value.nbytes < ROWS_MIN_BYTES:
            continue
        _quantize_table(model.graph, node, table, ids)
        count += 1
    drop_unused_initializers(model.graph)
    return count


def symmetric(matrix: Matrix, scale: Matrix) -> tuple[Matrix, Matrix]:
    """Quantize symmetrically with the given scales, rounding to nearest even.

    Args:
        matrix: Float32, two dimensions.
        scale: Broadcasts against ``matrix``; zeros (of all-zero columns) become 1.

    Returns:
        Integers as int8 in ``matrix``'s shape, and the scales as float32.
    """
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.clip(np.rint(matrix / scale), -127, 127).astype(np.int8), scale


def column_scales(matrix: Matrix) -> Matrix:
    """One scale per column, as fine as exactness on every CPU allows, float32 (outputs,)."""
    # One less than the limit: rounding moves each of the two by up to a half.
    scale = np.maximum(np.abs(matrix).max(axis=0) / 127, pair_sums(matrix) / (PAIR_LIMIT - 1))
    return np.asarray(scale, np.float32)


def _quantize_product(
    graph: ir.Graph, product: Product, activations: dict[str, Activation], rounding: Rounding | None
) -> None:
    matrix = product.matrix()
    integers, scale = symmetric(matrix, column_scales(matrix))
    if rounding is not None:
        integers, scale = rounding(product, integers, scale)
    weight = shared_initializer(graph, product.name + QUANTIZED, integers)
    column_scale = shared_initializer(graph, product.name + SCALE, scale)
    x, x_scale, x_zero = _activation(graph, product, activations)
    total = ir.node("MatMulInteger", [x, weight, x_zero])
    as_float = ir.node("Cast", [total.outputs[0]], {"to": ir.DataType.FLOAT})
    step = ir.node("Mul", [x_scale, column_scale])
    result = ir.node("Mul", [as_float.outputs[0], step.outputs[0]])
    replace(graph, product.node, {"sum": total, "float": as_float, "step": step}, result)


def _activation(graph: ir.Graph, product: Product, activations: dict[str, Activation]) -> Activation:
    name = product.x.name or ""
    if name not in activations:
        node = ir.node("DynamicQuantizeLinear", [product.x], num_outputs=3, name=f"{name}.quantize")
        for value, what in zip(node.outputs, ("quantized", "scale", "zero_point"), strict=True):
            value.name = f"{name}.{what}"
        graph.insert_before(product.node, node)
        activations[name] = (node.outputs[0], node.outputs[1], node.outputs[2])
    return activations[name]


def _quantize_table(graph: ir.Graph, node: ir.Node, table: ir.Value, ids: ir.Value) -> None:
    name = table.name or ""
    matrix = constant(table)
    integers, scale = symmetric(matrix, np.abs(matrix).max(axis=1, keepdims=True) / 127)
    rows = ir.node("Gather", [shared_initializer(graph, name + QUANTIZED, integers), ids])
    steps = ir.node("Gather", [shared_initializer(graph, name + SCALE, scale), ids])
    as_float = ir.node("Cast", [rows.outputs[0]], {"to": ir.DataType.FLOAT})
    result = ir.node("Mul", [as_float.outputs[0], steps.outputs[0]])
    replace(graph, node, {"rows": rows, "steps": steps, "float": as_float}, result)
