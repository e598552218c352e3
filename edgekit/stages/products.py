"""The constant-weight products of a graph, the ones a recipe may quantize.

Every pass and every check walks the same list, so that "all products" means one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Matrix = npt.NDArray[Any]

OUTLIERS: Final = ".outliers"  # how the name of a weight ends that stays in float; see edgekit.stages.outliers


@dataclass(frozen=True, slots=True)
class Product:
    """``MatMul(x, W)`` with a constant float32 ``W`` of shape (inputs, outputs)."""

    node: ir.Node
    x: ir.Value
    weight: ir.Value

    @property
    def name(self) -> str:
        """The weight's name: stable across graph passes, unlike the node's."""
        return self.weight.name or ""

    def matrix(self) -> Matrix:
        """The weight, float32 (inputs, outputs)."""
        return constant(self.weight)


def products(graph: ir.Graph) -> Iterator[Product]:
    """The float products with constant weights, in graph order, but for those that were made to stay in float."""
    for node in graph:
        if node.op_type == "MatMul" and node.domain == "":
            x, weight = node.inputs
            if x is None or weight is None or weight.const_value is None or (weight.name or "").endswith(OUTLIERS):
                continue
            if weight.const_value.dtype == ir.DataType.FLOAT and len(weight.const_value.shape) == 2:
                yield Product(node, x, weight)


def bias_of(product: Product) -> ir.Node | None:
    """The ``Add`` of a constant bias that alone reads a product's result, or None."""
    add = only_consumer(product.node.outputs[0])
    if add is None or add.op_type != "Add":
        return None
    values = [value for value in add.inputs if value is not None and value.const_value is not None]
    columns = product.weight.const_value.shape[1] if product.weight.const_value else 0
    fits = len(values) == 1 and values[0].const_value is not None and tuple(values[0].const_value.shape) == (columns,)
    return add if fits else None


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value; None where there are more or where it leaves the graph."""
    consumers = {node for node, _ in value.uses()}
    return consumers.pop() if len(consumers) == 1 and not value.is_graph_output() else None


def producer(value: ir.Value | None) -> ir.Node | None:
    """The node that makes a value; None for an input, a constant or nothing."""
    return value.producer() if value is not None else None


def constant(value: ir.Value) -> Matrix:
    """The array of an initializer."""
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"{value.name} is no initializer")
    return np.asarray(tensor.numpy())


def initializer(graph: ir.Graph, name: str, array: Matrix) -> ir.Value:
    """Add an initializer and return its value; ``name`` must be new in the graph."""
    if name in graph.initializers:
        raise ValueError(f"the graph already has an initializer {name}")
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(array, order="C"), name=name))
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.initializers[name] = value
    return value


def shared_initializer(graph: ir.Graph, name: str, array: Matrix) -> ir.Value:
    """The initializer of that name, added if need be: what is made from a shared weight is shared too."""
    return graph.initializers[name] if name in graph.initializers else initializer(graph, name, array)


def replace(graph: ir.Graph, old: ir.Node, inner: Mapping[str, ir.Node], last: ir.Node) -> None:
    """Put nodes in the place of one, in order; ``last`` takes over its output, names derive from it.

    Args:
        graph: Where ``old`` is.
        old: The node to replace; it has one output.
        inner: The nodes before the last, by a suffix for their names.
        last: The node whose output stands for the old one's.
    """
    output = old.outputs[0]
    for suffix, node in inner.items():
        node.name = node.outputs[0].name = f"{output.name}.{suffix}"
    last.name = old.name
    last.outputs[0].shape, last.outputs[0].type = output.shape, output.type
    ir.convenience.replace_nodes_and_values(graph, old, [old], [*inner.values(), last], [output], [last.outputs[0]])


def drop_unused_initializers(graph: ir.Graph) -> None:
    """Remove initializers nothing reads, such as the float weights a pass has replaced."""
    outputs = set(graph.outputs)
    for name in [name for name, value in graph.initializers.items() if not value.uses() and value not in outputs]:
        del graph.initializers[name]
