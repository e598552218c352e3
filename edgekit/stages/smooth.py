"""Smoothing: give a product an input whose channels are alike, by moving their ranges into weights and biases.

A product's activations are rounded with one step for all channels, so a few wide ones spoil the rest. Each channel is
therefore moved to the middle of its range and scaled, ``x' = (x - middle) * factor``, and what that changes is taken
back exactly: ``x W + b = x' (W / factor) + (b + middle W)``. The factor is SmoothQuant's (Xiao et al. 2023, arXiv
2211.10438) with the migration strength on the input's side, ``1/factor = max|x|^strength / max|w|^(1-strength)``; the
shift is Outlier Suppression+'s (Wei et al. 2023, arXiv 2304.09145).

Where the input comes from decides what that costs: nothing behind attention and behind a layer normalization that
feeds nothing else, whose constants do it; a second normalization in post-norm encoders, where the norm's output also
feeds the residual; and else a ``Mul``, and an ``Add`` where the shift is worth it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.errors import ExportError
from edgekit.stages.products import (
    Matrix,
    Product,
    bias_of,
    constant,
    drop_unused_initializers,
    initializer,
    only_consumer,
    producer,
    products,
)

STRENGTH: Final = 0.8  # of 0.5 to 1.0, the plateau of nearest-neighbour agreement on MiniLM is 0.75 to 0.85
SHIFT_GAIN: Final = 1.25  # by how much less rounding noise there must be for one more node
SUFFIX: Final = ".smoothing"  # of a constant that a graph gets for it

Bounds = tuple[Matrix, Matrix]
"""The least and the largest value of each channel, two float32 (channels,)."""


@dataclass(frozen=True, slots=True)
class Site:
    """An input, and the products that read it and whose weights no others share."""

    x: ir.Value
    consumers: list[Product]

    @property
    def alone(self) -> bool:
        """Whether nothing but the products reads the input."""
        nodes = {product.node for product in self.consumers}
        return not self.x.is_graph_output() and all(node in nodes for node, _ in self.x.uses())

    @property
    def free(self) -> bool:
        """Whether moving the channels costs no node, because constants before them can do it."""
        return self.mixed or _norm(self.x) is not None

    @property
    def shifts(self) -> bool:
        """Whether the channels can be moved: each product has a bias that takes it back."""
        return all(bias_of(product) for product in self.consumers)

    @property
    def mixed(self) -> bool:
        """Whether attention makes the input, whose values can be smoothed in its place."""
        return _mixed(self.x) is not None

    def matrices(self) -> list[Matrix]:
        """The weights, each float32 (channels, outputs)."""
        return [product.matrix() for product in self.consumers]


def sites(graph: ir.Graph, spare: Collection[str] = ()) -> dict[str, Site]:
    """Where there are channels to smooth, by the input's name, in graph order: not before products that stay in float.

    Args:
        graph: The float graph.
        spare: Names of the weights of such products.
    """
    found: dict[str, Site] = {}
    for product in products(graph):
        if len(list(product.weight.uses())) == 1:  # a weight shared by layers would need a copy for each of its inputs
            found.setdefault(product.x.name or "", Site(product.x, [])).consumers.append(product)
    spared = frozenset(spare)
    return {name: site for name, site in found.items() if any(one.name not in spared for one in site.consumers)}


def smooth(
    model: ir.Model, bounds: Mapping[str, Bounds], *, strength: float = STRENGTH, spare: Collection[str] = ()
) -> int:
    """Smooth the input of every product, in place; the graph's answers stay what they are.

    Args:
        model: The float graph.
        bounds: For each product's input (by value name) what its channels were seen to hold on calibration data. See
            :mod:`edgekit.stages.calibrate`.
        strength: How much of the activation's range moves into the weights, 0 to 1.
        spare: Names of weights that stay in float.

    Returns:
        The number of products smoothed.

    Raises:
        ExportError: Nothing matched, or a product's input was not calibrated.
    """
    found = sites(model.graph, spare)
    if not found:
        raise ExportError("smooth: the graph has no product with constant weights of its own")
    for name, site in found.items():
        if name not in bounds:
            raise ExportError(f"smooth: no calibrated range for {name}")
        taken = middle(site, bounds[name])
        radius = np.maximum(*map(np.abs, moved(bounds[name], taken)))
        _apply(model.graph, site, taken, smoothing_factor(radius, site.matrices(), strength))
    drop_unused_initializers(model.graph)
    return sum(len(site.consumers) for site in found.values())


def middle(site: Site, bounds: Bounds) -> Matrix:
    """What is taken from each channel, float32 (channels,): all zero where a shift is not worth the node it takes."""
    low, high = (bound.astype(np.float64) for bound in bounds)
    # To a 256th of the channel's width, for the same reason as in _eight_bits().
    step = np.exp2(np.frexp(np.maximum(high - low, 1e-30))[1] - 8.0)
    found = np.asarray(np.round((low + high) / 2 / step) * step, np.float32)
    if not site.shifts:
        return np.zeros_like(found)
    weights = site.matrices()
    pays = predicted_noise(bounds, weights) >= SHIFT_GAIN * predicted_noise(moved(bounds, found), weights)
    return found if site.free or pays else np.zeros_like(found)


def moved(bounds: Bounds, by: Matrix) -> Bounds:
    """Bounds of channels from which something is taken."""
    low, high = bounds
    return np.asarray(low - by, np.float32), np.asarray(high - by, np.float32)


def predicted_noise(bounds: Bounds, weights: Sequence[Matrix]) -> float:
    """Energy that rounding the smoothed input brings into the products' outputs, up to a constant factor."""
    low, high = (bound.astype(np.float64) for bound in bounds)
    factor = smoothing_factor(np.maximum(np.abs(low), np.abs(high)), weights).astype(np.float64)
    read = factor > 0
    step = max(float((high * factor).max()), 0.0) - min(float((low * factor).min()), 0.0)  # as DynamicQuantizeLinear
    return step**2 * sum(float(((weight[read] / factor[read, None]) ** 2).sum()) for weight in weights)


def smoothing_factor(radius: Matrix, weights: Sequence[Matrix], strength: float = STRENGTH) -> Matrix:
    """What each channel of an activation is multiplied by, float32 (channels,); 0 where no weight reads it.

    Args:
        radius: The largest magnitude per channel.
        weights: Of the products that read it, each (channels, outputs).
        strength: How much of the activation's range moves into the weights, 0 to 1.
    """
    w_range = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0).astype(np.float64)
    read = w_range > 0
    x_range = np.maximum(radius.astype(np.float64), 1e-5)
    divisor = x_range**strength / np.maximum(w_range, 1e-5) ** (1 - strength)
    divisor /= np.exp(np.log(divisor[read]).mean()) if read.any() else 1
    return _eight_bits(np.where(read, 1 / divisor, 0))


def _eight_bits(values: Matrix) -> Matrix:
    # Rounded to an 8-bit mantissa: two CPUs that disagree in the last bits of the calibration sums
    # still write the same file, but for values on a rounding edge.
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * 256) / 256, exponent), np.float32)


def _apply(graph: ir.Graph, site: Site, taken: Matrix, factor: Matrix) -> None:
    norm, values, alone = _norm(site.x), _mixed(site.x), site.alone
    for product in site.consumers:
        matrix = product.matrix()
        bias = bias_of(product)
        if bias is not None and taken.any():
            place = _constant_place(bias)
            _rewrite(graph, bias, place, constant(_input(bias, place)) + taken.astype(np.float64) @ matrix)
        _rewrite(graph, product.node, 1, _divided(matrix, factor))
    if norm is not None:
        _in_norm(graph, site, norm, taken, factor, alone=alone)
    elif values is not None:
        _in_values(graph, values, taken, factor)
    else:
        _in_front(graph, site, taken, factor)


def _divided(matrix: Matrix, factor: Matrix) -> Matrix:
    return np.divide(matrix, factor[:, None], out=np.zeros_like(matrix), where=factor[:, None] > 0)


def _norm(x: ir.Value) -> ir.Node | None:
    """The layer normalization that makes an input, if its constants are in the graph."""
    node = producer(x)
    if node is None or node.op_type != "LayerNormalization" or node.domain != "" or len(node.inputs) != 3:
        return None
    return node if all(_input(node, place).const_value is not None for place in (1, 2)) else None


def _in_norm(graph: ir.Graph, site: Site, norm: ir.Node, taken: Matrix, factor: Matrix, *, alone: bool) -> None:
    """A norm scales and shifts as its last step: in a second one, unless the first feeds only these products."""
    scale, shift = (constant(_input(norm, place)).astype(np.float64) for place in (1, 2))
    scale, shift = scale * factor, (shift - taken) * factor
    if alone:
        _rewrite(graph, norm, 1, scale)
        _rewrite(graph, norm, 2, shift)
        return
    name = f"{site.x.name}{SUFFIX}"
    constants = [
        initializer(graph, f"{name}_{what}", values.astype(np.float32))
        for what, values in (("scale", scale), ("shift", shift))
    ]
    inputs = [_input(norm, 0), *constants]
    second = ir.node("LayerNormalization", inputs, dict(norm.attributes), name=f"{name}/LayerNormalization")
    graph.insert_after(norm, second)
    _read_instead(site, second)


@dataclass(frozen=True, slots=True)
class _Values:
    """What attention mixes: columns of a product and of the bias behind it, from the ``first`` one on."""

    product: Product
    bias: ir.Node
    first: int


def _mixed(x: ir.Value) -> _Values | None:
    """The values of the attention that makes an input, where they can be scaled and shifted in its place.

    A softmax's weights sum to 1, so what is done to every value is done to any mixture of them.
    """
    attention = producer(x)
    if attention is None or attention.op_type != "MultiHeadAttention" or only_consumer(x) is None:
        return None
    values = _input(attention, 2)
    if len(list(values.uses())) != 1 or values.is_graph_output():
        return None
    made, first = producer(values), 0
    if made is not None and made.op_type == "Split":
        sizes, whole = made.inputs[1] if len(made.inputs) > 1 else None, _input(made, 0)
        if sizes is None or sizes.const_value is None or only_consumer(whole) is None:
            return None
        first = int(constant(sizes)[: list(made.outputs).index(values)].sum())
        made = producer(whole)
    product = next((one for value in (made.inputs if made else ()) if (one := _product(value)) is not None), None)
    return _Values(product, made, first) if product and made and bias_of(product) is made else None


def _product(value: ir.Value | None) -> Product | None:
    node = producer(value)
    weight = node.inputs[1] if node is not None and node.op_type == "MatMul" else None
    if node is None or weight is None or weight.const_value is None or len(list(weight.uses())) != 1:
        return None
    return Product(node, _input(node, 0), weight)


def _in_values(graph: ir.Graph, values: _Values, taken: Matrix, factor: Matrix) -> None:
    columns = slice(values.first, values.first + len(factor))
    weight = values.product.matrix().astype(np.float64)
    weight[:, columns] *= factor
    _rewrite(graph, values.product.node, 1, weight)
    place = _constant_place(values.bias)
    bias = constant(_input(values.bias, place)).astype(np.float64)
    bias[columns] = (bias[columns] - taken) * factor
    _rewrite(graph, values.bias, place, bias)


def _in_front(graph: ir.Graph, site: Site, taken: Matrix, factor: Matrix) -> None:
    name = f"{site.x.name}{SUFFIX}"
    nodes = [ir.node("Mul", [site.x, initializer(graph, f"{name}_scale", factor)], name=f"{name}/Mul")]
    if taken.any():
        scaled = nodes[0].outputs[0]
        scaled.name, scaled.shape, scaled.type = f"{name}.scaled", site.x.shape, site.x.type
        shift = initializer(graph, f"{name}_shift", -taken * factor)
        nodes.append(ir.node("Add", [scaled, shift], name=f"{name}/Add"))
    graph.insert_before(site.consumers[0].node, nodes)
    _read_instead(site, nodes[-1])


def _read_instead(site: Site, node: ir.Node) -> None:
    output = node.outputs[0]
    output.name = f"{site.x.name}.smoothed"
    output.shape, output.type = site.x.shape, site.x.type
    for product in site.consumers:
        product.node.replace_input_with(0, output)


def _rewrite(graph: ir.Graph, node: ir.Node, place: int, values: Matrix) -> None:
    """Give a node other constants: in the initializer's place, unless another node reads that too."""
    old = _input(node, place)
    array = np.ascontiguousarray(values, np.float32)
    if len(list(old.uses())) == 1 and not old.is_graph_output():
        old.const_value = ir.tensor(array, name=old.name)
    else:
        node.replace_input_with(place, initializer(graph, f"{node.outputs[0].name}{SUFFIX}.{place}", array))


def _constant_place(node: ir.Node) -> int:
    return next(place for place, value in enumerate(node.inputs) if value is not None and value.const_value is not None)


def _input(node: ir.Node, place: int) -> ir.Value:
    value = node.inputs[place]
    if value is None:
        raise ValueError(f"{node.name} has no input {place}")
    return value
