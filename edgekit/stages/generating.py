"""Quantizing the components of a generating model: products, head and tables in blocks of integers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from edgekit.stages.block_tables import quantize_tables, split_gemms
from edgekit.stages.blockwise import fitting_block, quantize_blocks, quantize_nearest
from edgekit.stages.ladder import Blocks
from edgekit.stages.moments import CalibratedRounding
from edgekit.stages.products import products


def quantize_components(
    models: Mapping[str, ir.Model], blocks: Blocks, rounding: CalibratedRounding | None
) -> Iterator[tuple[str, int]]:
    """Quantize the float graphs of all components, in place.

    Args:
        models: By component.
        blocks: How.
        rounding: To the nearest where None; then nothing is spared, for nothing was measured.

    Yields:
        What was changed and how often, a component at a time.

    Raises:
        ExportError: A component has nothing to quantize.
    """
    for model in models.values():
        split_gemms(model)
    spared = _spared(models, blocks, rounding) if rounding is not None and blocks.spare else ()
    round_by = rounding or quantize_nearest
    for model in models.values():
        yield (
            f"tables int{blocks.head_bits} by blocks",
            quantize_tables(model, bits=blocks.head_bits, block=blocks.head_block, rounding=round_by),
        )
        counts = quantize_blocks(
            model,
            bits=blocks.bits,
            block=blocks.block,
            outputs=_vocabulary(model),
            outputs_bits=blocks.head_bits,
            outputs_block=blocks.head_block,
            spare=spared,
            rounding=round_by,
        )
        yield f"products int{blocks.bits} by blocks", counts
    if spared:
        yield "weights of them spared to int8", len(spared)


def _spared(models: Mapping[str, ir.Model], blocks: Blocks, rounding: CalibratedRounding) -> Collection[str]:
    """The weights whose products' outputs their rounding disturbs most."""
    found: dict[str, float] = {}
    for model in models.values():
        vocabulary = _vocabulary(model)
        for product in products(model.graph):
            matrix = product.matrix()
            size = fitting_block(matrix.shape[0], blocks.block)
            if size and matrix.shape[1] != vocabulary and product.name not in found:
                rows = np.ascontiguousarray(matrix.T)
                found[product.name] = rounding.disturbance(product.name, rows, blocks.bits, size)
    worst = sorted(found, key=lambda name: (-found[name], name))
    return worst[: math.ceil(blocks.spare * len(worst))]


def _vocabulary(model: ir.Model) -> int:
    """The last size of the graph's logits; 0 where it gives none."""
    shapes = [value.shape for value in model.graph.outputs if value.name == "logits" and value.shape is not None]
    return shapes[0][-1] if shapes and isinstance(shapes[0][-1], int) else 0
