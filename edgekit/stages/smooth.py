"""Smoothing: move a product's activation outliers into its weights before quantizing.

SmoothQuant (Xiao et al. 2023, arXiv 2211.10438) with the migration strength on the input's side:
per input channel the activation is multiplied by ``m`` and the weight's row divided by it, where
``1/m = max|x|^strength / max|w|^(1-strength)``. Encoders are post-norm (the norm's output also feeds
the residual), so the factor is an explicit ``Mul`` instead of being folded into the norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.products import Matrix, Product, constant, drop_unused_initializers, initializer, products

STRENGTH: Final = 0.8  # of 0.5 to 1.0, the plateau of nearest-neighbour agreement on MiniLM is 0.75 to 0.85
SUFFIX: Final = ".smoothing"  # of a factor
SMOOTHED: Final = ".smoothed"  # of a weight


def smooth(model: ir.Model, ranges: Mapping[str, Matrix], *, strength: float = STRENGTH) -> int:
    """Insert the smoothing factors before every product, in place.

    Args:
        model: The float graph.
        ranges: For each product's input (by value name) the largest magnitude per channel seen on
            calibration data, float32 (channels,). See :mod:`edgekit.stages.calibrate`.
        strength: How much of the activation's range moves into the weights, 0 to 1.

    Returns:
        The number of products smoothed.

    Raises:
        ExportError: Nothing matched, or a product's input was not calibrated.
    """
    by_input: dict[str, list[Product]] = {}
    for product in products(model.graph):
        if len(list(product.weight.uses())) > 1:
            continue  # a weight shared by layers would need a copy for each of its inputs
        by_input.setdefault(product.x.name or "", []).append(product)
    if not by_input:
        raise ExportError("smooth: the graph has no product with constant weights of its own")
    count = 0
    for name, consumers in by_input.items():
        if name not in ranges:
            raise ExportError(f"smooth: no calibrated range for {name}")
        factor = smoothing_factor(ranges[name], [product.matrix() for product in consumers], strength)
        _apply(model.graph, consumers, factor)
        count += len(consumers)
    drop_unused_initializers(model.graph)
    return count


def smoothing_factor(x_range: Matrix, weights: list[Matrix], strength: float = STRENGTH) -> Matrix:
    """What each channel of an activation is multiplied by, float32 (channels,); 0 where no weight reads it.

    Args:
        x_range: The largest magnitude per channel.
        weights: Of the products that read it, each (channels, outputs).
        strength: How much of the activation's range moves into the weights, 0 to 1.
    """
    w_range = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0).astype(np.float64)
    read = w_range > 0
    x_range = np.maximum(x_range.astype(np.float64), 1e-5)
    divisor = x_range**strength / np.maximum(w_range, 1e-5) ** (1 - strength)
    divisor /= np.exp(np.log(divisor[read]).mean()) if read.any() else 1
    return _eight_bits(np.where(read, 1 / divisor, 0))


def factor_of(product: Product) -> Matrix | None:
    """The factor that a smoothed product's activation is multiplied by, (channels,); None where it is not smoothed."""
    scaled = product.x.producer()
    factor = scaled.inputs[-1] if scaled is not None and scaled.op_type == "Mul" else None
    return constant(factor) if factor is not None and (factor.name or "").endswith(SUFFIX) else None


def into_weights(matrix: Matrix, factor: Matrix) -> Matrix:
    """A weight (channels, outputs) that answers to the smoothed activation as the original to the plain one."""
    divided = np.divide(matrix, factor[:, None], out=np.zeros_like(matrix), where=factor[:, None] > 0)
    return np.asarray(divided, np.float32)


def _eight_bits(values: Matrix) -> Matrix:
    # Rounded to an 8-bit mantissa: two CPUs that disagree in the last bits of the calibration sums
    # still write the same file, but for values on a rounding edge.
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * 256) / 256, exponent), np.float32)


def _apply(graph: ir.Graph, consumers: list[Product], factor: Matrix) -> None:
    x = consumers[0].x
    multiplier = initializer(graph, f"{x.name}{SUFFIX}", factor)
    scaled = ir.node("Mul", [x, multiplier], name=f"{x.name}{SUFFIX}/Mul")
    scaled.outputs[0].name = f"{x.name}.smoothed"
    graph.insert_before(consumers[0].node, scaled)
    for product in consumers:
        weight = into_weights(product.matrix(), factor)
        product.node.replace_input_with(0, scaled.outputs[0])
        product.node.replace_input_with(1, initializer(graph, product.name + SMOOTHED, weight))
