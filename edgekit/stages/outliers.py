"""Outliers: the few channels that spoil a product's int8 activations stay in float.

Dynamic int8 has one step for a whole tensor, and a transformer's feed-forward product reads a handful of channels
that are tens of times larger than the rest (Dettmers et al. 2022, arXiv 2208.07339). Smoothing cannot cure those:
what it takes from the activation's range it gives to the weights. So their rows leave the int8 product and are
multiplied in float beside it, four rows of a thousand. Which they are follows from ranges on calibration data, so
that the graph is fixed; where it gains little the product stays whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.stages.products import OUTLIERS, Matrix, Product, bias_of, initializer
from edgekit.stages.smooth import Bounds, middle, moved, predicted_noise, sites

CHANNELS: Final = 4
GAIN: Final = 1.6  # by how much less rounding noise there must be for three more nodes
PLACES: Final = ".channels"


def split_outliers(model: ir.Model, bounds: Mapping[str, Bounds], spare: Collection[str] = ()) -> int:
    """Take the outlier channels of products out of them, in place, where that pays.

    Args:
        model: The float graph.
        bounds: For each product's input (by value name) what its channels were seen to hold on calibration data.
        spare: Names of weights that stay in float as a whole.

    Returns:
        The number of products split.
    """
    count = 0
    for name, site in sites(model.graph, spare).items():
        # What attention makes is smoothed at no cost, which a second reader would end.
        if name not in bounds or site.mixed or len(bounds[name][0]) < 4 * CHANNELS:
            continue
        left = moved(bounds[name], middle(site, bounds[name]))
        for product in site.consumers:
            if product.name in spare:
                continue
            channels = _outliers(product.matrix(), left)
            if len(channels):
                _split(model.graph, product, channels)
                count += 1
    return count


def _outliers(matrix: Matrix, bounds: Bounds) -> Matrix:
    """The channels to take out, ascending; none where it gains less than :data:`GAIN`."""
    energy = np.maximum(*map(np.abs, bounds)) * np.linalg.norm(matrix, axis=1)
    channels = np.sort(np.argsort(-energy, kind="stable")[:CHANNELS])
    rest = matrix.copy()
    rest[channels] = 0
    gain = predicted_noise(bounds, [matrix]) / max(predicted_noise(bounds, [rest]), 1e-30)
    return channels if gain >= GAIN else channels[:0]


def _split(graph: ir.Graph, product: Product, channels: Matrix) -> None:
    matrix = product.matrix().copy()
    beside = initializer(graph, product.name + OUTLIERS, matrix[channels])
    places = initializer(graph, product.name + PLACES, channels.astype(np.int64))
    matrix[channels] = 0
    name = product.name
    weight = graph.initializers[name]
    weight.const_value = ir.tensor(matrix, name=name)
    picked = ir.node("Gather", [product.x, places], {"axis": -1}, name=f"{name}{OUTLIERS}/Gather")
    extra = ir.node("MatMul", [picked.outputs[0], beside], name=f"{name}{OUTLIERS}/MatMul")
    for node, what in ((picked, "picked"), (extra, "extra")):
        node.outputs[0].name = f"{name}{OUTLIERS}.{what}"
    # Behind the bias, so that ONNX Runtime still fuses it into the int8 product.
    last = bias_of(product) or product.node
    output = last.outputs[0]
    total = ir.node("Add", [output, extra.outputs[0]], name=f"{name}{OUTLIERS}/Add")
    total.outputs[0].name = f"{name}{OUTLIERS}.sum"
    if output.is_graph_output():  # its name is what callers ask for
        total.outputs[0].name, output.name = output.name, f"{name}{OUTLIERS}.whole"
    total.outputs[0].shape, total.outputs[0].type = output.shape, output.type
    ir.convenience.replace_all_uses_with(output, total.outputs[0], replace_graph_outputs=True)
    total.replace_input_with(0, output)
    graph.insert_after(last, [picked, extra, total])
