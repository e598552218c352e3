"""Block-wise int8: weights by blocks of 32 rows, activations by row and block at run time.

ONNX Runtime's ``MatMulNBits``. Slower than :mod:`.quantize` on long inputs, closer to the original, and free of
any saturation: the kernel scales each block's sum before adding it up.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.products import Matrix, Product, drop_unused_initializers, products, replace, shared_initializer

BITS: Final = 8
BLOCK: Final = 32
ZERO: Final = 1 << (BITS - 1)  # the operator's zero point where none is given
ACCURACY_LEVEL: Final = 4  # activations as int8 inside the kernel: the fast one
DOMAIN: Final = "com.microsoft"
QUANTIZED: Final = ".blocks"
SCALE: Final = ".block_scale"


def quantize_blocks(model: ir.Model) -> int:
    """Replace every ``MatMul(x, W)`` with constant ``W`` by ``MatMulNBits``, in place.

    Returns:
        The number of products quantized.

    Raises:
        ExportError: Nothing was quantized.
    """
    matched = [product for product in products(model.graph) if product.matrix().shape[0] % BLOCK == 0]
    if not matched:
        raise ExportError(f"int8-blockwise: no product whose input is a multiple of {BLOCK} wide")
    for product in matched:
        _quantize(model.graph, product)
    model.graph.opset_imports[DOMAIN] = 1
    drop_unused_initializers(model.graph)
    return len(matched)


def dequantize(blocks: Matrix, scales: Matrix) -> Matrix:
    """The weights a ``MatMulNBits`` node stands for, float32 (inputs, outputs).

    Args:
        blocks: uint8 (outputs, blocks, 32).
        scales: float32 (outputs, blocks).
    """
    values = (blocks.astype(np.float32) - ZERO) * scales[..., None]
    return np.asarray(values.reshape(len(blocks), -1).T)


def _quantize(graph: ir.Graph, product: Product) -> None:
    matrix = product.matrix()
    inputs, outputs = matrix.shape
    blocks = matrix.T.reshape(outputs, inputs // BLOCK, BLOCK)
    scales = np.abs(blocks).max(axis=2) / (ZERO - 1)
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    integers = np.clip(np.rint(blocks / scales[..., None]), 1 - ZERO, ZERO - 1).astype(np.int16) + ZERO
    operands = [
        product.x,
        shared_initializer(graph, product.name + QUANTIZED, integers.astype(np.uint8)),
        shared_initializer(graph, product.name + SCALE, scales),
    ]
    attributes = {"K": inputs, "N": outputs, "bits": BITS, "block_size": BLOCK, "accuracy_level": ACCURACY_LEVEL}
    replace(graph, product.node, {}, ir.node("MatMulNBits", operands, attributes, domain=DOMAIN))
