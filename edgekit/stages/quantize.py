"""Dynamic int8: weights by column, activations by tensor at run time.

Written out as ONNX's own operators (``DynamicQuantizeLinear``, ``MatMulInteger``), which ONNX Runtime
fuses when it opens the file and every other runtime understands. ORT's ``quantize_dynamic`` is not
used because it has one answer for every CPU, and that answer saturates on x86 without VNNI.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.spec.target import Target
from edgekit.stages.products import Product, constant, drop_unused_initializers, initializer, products

QUANTIZED: Final = ".int8"
SCALE: Final = ".scale"
ROWS_MIN_BYTES: Final = 1 << 20  # a smaller embedding table is not worth two more nodes


class Weights(Enum):
    """How the integers of int8 weights are limited and stored."""

    S8 = "int8"
    """Full range. Exact where products add up in 32 bits: VNNI, and Arm."""
    PAIRED = "int8-paired"
    """Full range as long as no two neighbouring rows of a column sum to more than 128.

    x86 without VNNI adds the products of two neighbouring rows (2i, 2i+1) into a signed 16-bit
    number; with activations up to 255 that holds 128. The usual answer, 7-bit weights, assumes that
    the two largest weights of a column are neighbours; they hardly ever are, so a scale chosen by
    pairs is about 1.4 times finer.
    """
    U8 = "uint8"
    """The integers of S8 shifted by 128, with 128 as zero point: exact on every CPU, slower on x86."""

    @classmethod
    def for_target(cls, target: Target) -> Weights:
        """The fastest form that is exact on the target."""
        return cls.PAIRED if target.int8_products_saturate else cls.S8


PAIR_LIMIT: Final = 32767 // 255  # 128: what two neighbouring weights may sum to


def pair_sums(matrix: np.ndarray) -> np.ndarray:
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
    return np.maximum(positive[::2] + positive[1::2], negative[::2] + negative[1::2]).max(axis=0)


def quantize_products(model: ir.Model, weights: Weights, *, spare: Collection[str] = ()) -> int:
    """Replace every ``MatMul(x, W)`` with constant ``W`` by its dynamic int8 form, in place.

    Args:
        model: The float graph.
        weights: How to store the weights.
        spare: Names of weights to leave in float.

    Returns:
        The number of products quantized.

    Raises:
        ExportError: Nothing was quantized.
    """
    spared = frozenset(spare)
    activations: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
    matched = [product for product in products(model.graph) if product.name not in spared]
    if not matched:
        raise ExportError(
            "int8-dynamic: no product with constant weights to quantize",
            hint="this architecture needs another recipe: try --recipe fp32",
        )
    for product in matched:
        _quantize_product(model.graph, product, weights, activations)
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


def symmetric(matrix: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantize symmetrically with the given scales, rounding to nearest even.

    Args:
        matrix: Float32, two dimensions.
        scale: Broadcasts against ``matrix``; zeros (of all-zero columns) become 1.

    Returns:
        Integers as int8 in ``matrix``'s shape, and the scales as float32.
    """
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.clip(np.rint(matrix / scale), -127, 127).astype(np.int8), scale


def column_scales(matrix: np.ndarray, weights: Weights) -> np.ndarray:
    """One scale per column, as fine as the storage allows, float32 (outputs,)."""
    scale = np.abs(matrix).max(axis=0) / 127
    if weights is Weights.PAIRED:
        # One less than the limit: rounding moves each of the two by up to a half.
        scale = np.maximum(scale, pair_sums(matrix) / (PAIR_LIMIT - 1))
    return scale.astype(np.float32)


def _quantize_product(
    graph: ir.Graph, product: Product, weights: Weights, activations: dict[str, tuple[ir.Value, ir.Value, ir.Value]]
) -> None:
    matrix = product.matrix()
    integers, scale = symmetric(matrix, column_scales(matrix, weights))
    quantized = initializer(graph, product.name + QUANTIZED, _store(integers, weights))
    column_scale = initializer(graph, product.name + SCALE, scale)
    inputs = [*_activation(graph, product, activations)]
    x, x_scale, x_zero = inputs
    operands = [x, quantized, x_zero]
    if weights is Weights.U8:
        operands.append(initializer(graph, f"{product.name}.zero_point", np.full(len(scale), 128, np.uint8)))
    name = product.name
    total = ir.node("MatMulInteger", operands, name=f"{name}/MatMulInteger")
    as_float = ir.node("Cast", [total.outputs[0]], {"to": ir.DataType.FLOAT}, name=f"{name}/Cast")
    both = ir.node("Mul", [x_scale, column_scale], name=f"{name}/Scale")
    result = ir.node("Mul", [as_float.outputs[0], both.outputs[0]], name=f"{name}/Rescale")
    for node, what in ((total, "sum"), (as_float, "float"), (both, "step")):
        node.outputs[0].name = f"{name}.{what}"
    old = product.node.outputs[0]
    result.outputs[0].shape, result.outputs[0].type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(
        graph, product.node, [product.node], [total, as_float, both, result], [old], [result.outputs[0]]
    )


def _activation(
    graph: ir.Graph, product: Product, activations: dict[str, tuple[ir.Value, ir.Value, ir.Value]]
) -> tuple[ir.Value, ir.Value, ir.Value]:
    name = product.x.name or ""
    if name not in activations:
        node = ir.node("DynamicQuantizeLinear", [product.x], num_outputs=3, name=f"{name}/Quantize")
        for value, what in zip(node.outputs, ("quantized", "scale", "zero_point"), strict=True):
            value.name = f"{name}.{what}"
        graph.insert_before(product.node, node)
        activations[name] = (node.outputs[0], node.outputs[1], node.outputs[2])
    return activations[name]


def _quantize_table(graph: ir.Graph, node: ir.Node, table: ir.Value, ids: ir.Value) -> None:
    name = table.name or ""
    integers, scale = symmetric(constant(table), np.abs(constant(table)).max(axis=1, keepdims=True) / 127)
    rows = ir.node("Gather", [initializer(graph, name + QUANTIZED, integers), ids], name=f"{name}/Rows")
    steps = ir.node("Gather", [initializer(graph, name + SCALE, scale), ids], name=f"{name}/Steps")
    as_float = ir.node("Cast", [rows.outputs[0]], {"to": ir.DataType.FLOAT}, name=f"{name}/Cast")
    result = ir.node("Mul", [as_float.outputs[0], steps.outputs[0]], name=f"{name}/Rescale")
    for part, what in ((rows, "rows"), (steps, "steps"), (as_float, "float")):
        part.outputs[0].name = f"{name}.{what}"
    old = node.outputs[0]
    result.outputs[0].shape, result.outputs[0].type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [rows, steps, as_float, result], [old], [result.outputs[0]]
    )


def _store(integers: np.ndarray, weights: Weights) -> np.ndarray:
    return (integers.astype(np.int16) + 128).astype(np.uint8) if weights is Weights.U8 else integers
