"""Block-wise integers: weights by blocks of rows, activations by row and block at run time.

ONNX Runtime's ``MatMulNBits``. Slower than :mod:`.quantize` on long inputs, closer to the original, and free of
any saturation: the kernel scales each block's sum before adding it up. Where one token follows another, as a decoder
has it, reading the weights takes all the time, and fewer bits are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.ladder import BITS, BLOCK
from edgekit.stages.products import Matrix, Product, drop_unused_initializers, products, replace, shared_initializer

Rounding = Callable[[str, Matrix, int, int], tuple[Matrix, Matrix]]
"""From a weight's name, its rows (outputs, inputs), bits and block to what :func:`quantize_rows` gives."""

ACCURACY_LEVEL: Final = 4  # activations as int8 inside the kernel: the fast one
DOMAIN: Final = "com.microsoft"
QUANTIZED: Final = ".blocks"
SCALE: Final = ".block_scale"


def quantize_blocks(  # noqa: PLR0913 - each says how one kind of product is stored
    model: ir.Model,
    *,
    bits: int = BITS,
    block: int = BLOCK,
    outputs: int = 0,
    outputs_bits: int = BITS,
    outputs_block: int = BLOCK,
    spare: Collection[str] = (),
    rounding: Rounding | None = None,
) -> int:
    """Replace every ``MatMul(x, W)`` with constant ``W`` by ``MatMulNBits``, in place.

    Args:
        model: The float graph.
        bits: Of a weight: 4 or 8.
        block: Inputs that share a scale; halved, down to 32, for a product whose inputs are no multiple of it.
        outputs: Products with so many outputs, a language model's head, are quantized otherwise.
        outputs_bits: How: with these bits.
        outputs_block: And these blocks.
        spare: Names of weights that get 8 bits whatever the others have.
        rounding: How integers and scales are chosen; to the nearest where None.

    Returns:
        The number of products quantized.

    Raises:
        ExportError: Nothing was quantized.
    """
    count, spared = 0, frozenset(spare)
    for product in list(products(model.graph)):
        head = outputs > 0 and product.matrix().shape[1] == outputs
        size = fitting_block(product.matrix().shape[0], outputs_block if head else block)
        if size:
            wanted = outputs_bits if head else bits
            _quantize(
                model.graph, product, BITS if product.name in spared else wanted, size, rounding or quantize_nearest
            )
            count += 1
    if not count:
        raise ExportError(f"int{bits}-blockwise: no product whose input is a multiple of {BLOCK} wide")
    model.graph.opset_imports[DOMAIN] = 1
    drop_unused_initializers(model.graph)
    return count


def fitting_block(width: int, block: int) -> int:
    """The largest of ``block``, its half and so on down to 32 that divides ``width``; 0 where none does."""
    while block >= BLOCK:
        if width % block == 0:
            return block
        block //= 2
    return 0


def quantize_rows(rows: Matrix, bits: int, block: int) -> tuple[Matrix, Matrix]:
    """Quantize each row by blocks, symmetrically, as ``MatMulNBits`` stores them.

    Args:
        rows: float32 (outputs, inputs); ``block`` divides inputs.
        bits: 4 or 8; two 4-bit numbers share a byte, the first in its lower half.
        block: Numbers that share a scale.

    Returns:
        uint8 (outputs, blocks, block * bits / 8), zero being ``2 ** (bits - 1)``, and scales float32
        (outputs, blocks).
    """
    highest = (1 << (bits - 1)) - 1
    blocks = rows.reshape(len(rows), -1, block)
    scales = np.abs(blocks).max(axis=2) / highest
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    integers = np.clip(np.rint(blocks / scales[..., None]), -highest, highest).astype(np.int8)
    return stored(integers, bits), scales


def quantize_nearest(name: str, rows: Matrix, bits: int, block: int) -> tuple[Matrix, Matrix]:  # noqa: ARG001
    """:func:`quantize_rows` as a :data:`Rounding`: every weight alike."""
    return quantize_rows(rows, bits, block)


def stored(integers: Matrix, bits: int) -> Matrix:
    """Signed integers (outputs, blocks, block) as ``MatMulNBits`` stores them; :func:`signed` takes them back."""
    unsigned = (integers.astype(np.int16) + _zero(bits)).astype(np.uint8)
    return unsigned[..., 0::2] | (unsigned[..., 1::2] << 4) if bits == 4 else unsigned


def signed(blocks: Matrix, bits: int) -> Matrix:
    """What :func:`stored` was given, int16 (outputs, blocks, block)."""
    integers = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:2], -1) if bits == 4 else blocks
    return np.asarray(integers.astype(np.int16) - _zero(bits))


def dequantize(blocks: Matrix, scales: Matrix, bits: int = BITS) -> Matrix:
    """The weights a ``MatMulNBits`` node stands for, float32 (inputs, outputs).

    Args:
        blocks: uint8 (outputs, blocks, block * bits / 8).
        scales: float32 (outputs, blocks).
        bits: 4 or 8.
    """
    values = signed(blocks, bits).astype(np.float32) * scales[..., None]
    return np.asarray(values.reshape(len(blocks), -1).T)


def product_node(operands: Iterable[ir.Value | None], inputs: int, outputs: int, bits: int, block: int) -> ir.Node:
    """A ``MatMulNBits`` of those sizes."""
    attributes = {"K": inputs, "N": outputs, "bits": bits, "block_size": block, "accuracy_level": ACCURACY_LEVEL}
    return ir.node("MatMulNBits", list(operands), attributes, domain=DOMAIN)


def _zero(bits: int) -> int:
    """The operator's zero point where none is given."""
    return 1 << (bits - 1)


def _quantize(graph: ir.Graph, product: Product, bits: int, block: int, rounding: Rounding) -> None:
    matrix = product.matrix()
    integers, scales = rounding(product.name, np.ascontiguousarray(matrix.T), bits, block)
    operands = [
        product.x,
        shared_initializer(graph, product.name + QUANTIZED, integers),
        shared_initializer(graph, product.name + SCALE, scales),
    ]
    inputs, outputs = matrix.shape
    replace(graph, product.node, {}, product_node(operands, inputs, outputs, bits, block))
