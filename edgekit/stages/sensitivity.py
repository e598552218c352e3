"""Sensitivity: which products an int8 file should leave in float, by what rounding each does to the model's answers.

A product whose own output rounding hardly changes may still spoil the answer, and the other way round: what a
transformer's second feed-forward product adds to a few outlier channels dwarfs the rest, so that its relative error is
the smallest of all and its harm the largest. So the float graph is asked as a whole, with one product's input rounded
at a time, and the harm is set against what leaving the product in float costs: its multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.stages import component_files
from edgekit.stages.inner_session import write_and_open
from edgekit.stages.products import Matrix, products
from edgekit.stages.reference import Feeds

SWITCH: Final = "rounded"  # the graph's further input: for each product whether its input is rounded


def harms(fp32: Path, component: str, batches: Sequence[Feeds], work: Path) -> dict[str, float]:
    """How far rounding one product's input to int8 moves the answers.

    Args:
        fp32: Folder of the float graphs.
        component: Which of them.
        batches: Its inputs.
        work: A folder for the graph with switches.

    Returns:
        For each product, by its weight's name, the energy of the outputs' error as a share of their own, summed over
        inputs and outputs. Rounded is as ``DynamicQuantizeLinear`` does it, one step for the tensor.
    """
    model = component_files.load_one(fp32, component)
    names = _add_switches(model.graph)
    session = write_and_open(model, component, work)
    found = dict.fromkeys(names, 0.0)
    switches = np.eye(len(names), dtype=bool)
    for feeds in batches:
        exact = session.run(None, {**feeds, SWITCH: np.zeros(len(names), dtype=bool)})
        for name, switch in zip(names, switches, strict=True):
            off = session.run(None, {**feeds, SWITCH: switch})
            found[name] += sum(_moved(one, other) for one, other in zip(exact, off, strict=True))
    return found


def most_harmful(harm: Mapping[str, float], sizes: Mapping[str, int], share: float) -> list[str]:
    """The products to leave in float: those that do most harm for their multiplications, until a share of all is spent.

    Args:
        harm: From :func:`harms`.
        sizes: Elements of each weight, which are a product's multiplications for a token.
        share: Of all multiplications, 0 to 1; one product is spared whatever it costs.
    """
    order = sorted(harm, key=lambda name: -harm[name] / sizes[name])
    left = share * sum(sizes.values())
    spared: list[str] = []
    for name in order:
        if not spared or sizes[name] <= left:
            spared.append(name)
            left -= sizes[name]
    return spared


def _add_switches(graph: ir.Graph) -> list[str]:
    """Let each product read its input rounded or not, in place; the weights' names, in the switches' order."""
    found = list(products(graph))
    names = list(dict.fromkeys(product.name for product in found))
    switch = ir.Value(name=SWITCH, shape=ir.Shape([len(names)]), type=ir.TensorType(ir.DataType.BOOL))
    graph.inputs.append(switch)
    rounded: dict[str, ir.Value] = {}
    for product in found:
        x, name = product.x, product.x.name or ""
        if name not in rounded:
            rounded[name] = _round(graph, product.node, x)
        place = ir.node("Constant", [], {"value": ir.tensor(np.int64(names.index(product.name)))})
        chosen = ir.node("Gather", [switch, place.outputs[0]])
        either = ir.node("Where", [chosen.outputs[0], rounded[name], x])
        graph.insert_before(product.node, [place, chosen, either])
        product.node.replace_input_with(0, either.outputs[0])
    return names


def _round(graph: ir.Graph, before: ir.Node, x: ir.Value) -> ir.Value:
    quantize = ir.node("DynamicQuantizeLinear", [x], num_outputs=3)
    back = ir.node("DequantizeLinear", list(quantize.outputs))
    graph.insert_before(before, [quantize, back])
    return back.outputs[0]


def _moved(exact: Matrix, found: Matrix) -> float:
    if not np.issubdtype(exact.dtype, np.floating):
        return 0.0
    wide = exact.astype(np.float64)
    return float(((found - wide) ** 2).sum()) / max(float((wide**2).sum()), 1e-30)
