"""Overflow: which nodes of a float graph must stay in float32 when the rest becomes float16.

float16 ends at 65504 and rounds what is below 6e-5 ever more coarsely. A value beyond it is infinity, and a few nodes
later NaN; ONNX Runtime's CPU provider hides it, since it computes float16 graphs in float32. So the float32 graph is
run on the calibration inputs, and every value is looked at: how large it gets, and how much of it float16 would lose.
The sums inside products and reductions are bounded by the same node over magnitudes, since some devices add up in
float16 too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgekit.errors import ExportError
from edgekit.stages import component_files
from edgekit.stages.inner_session import write_and_open
from edgekit.stages.products import constant, initializer
from edgekit.stages.reference import Feeds

LARGEST: Final = 65504.0
MARGIN: Final = 2  # other inputs than the calibrated ones may be this much larger
LOSS_MAX: Final = 2.0**-10  # twice float16's own rounding: more than this is underflow
INPUTS: Final = 64

# Masks add minus infinity's stand-in (float32's lowest number, -1e9, …) to scores before a softmax. In float16 it is
# this: any softmax makes it zero, and three of them and a score still add up to a finite number.
MASK_FROM: Final = -1e9
MASK: Final = -8192.0
MASKED: Final = ".mask"

# For each operator the one that, over magnitudes, bounds every sum it makes on its way.
_BOUNDS: Final = {
    "MatMul": "MatMul",
    "Gemm": "Gemm",
    "Conv": "Conv",
    "CumSum": "CumSum",
    "ReduceSum": "ReduceSum",
    "ReduceMean": "ReduceSum",
    "ReduceL1": "ReduceSum",
    "ReduceL2": "ReduceSumSquare",
    "ReduceSumSquare": "ReduceSumSquare",
}
_FLOAT: Final = "tensor(float)"


@dataclass(frozen=True, slots=True)
class Spared:
    """A node that stays in float32.

    Attributes:
        why: In words, for the evidence.
        magnitude: The largest that was seen, where that is the reason.
    """

    why: str
    magnitude: float = 0


@dataclass(frozen=True, slots=True)
class Overflow:
    """What was found.

    Attributes:
        floats: Names of the graph's float32 values, its constants not among them.
        spared: Nodes that stay in float32, by the name of their first output.
        largest: The largest magnitude of any value.
        largest_name: The value where it is.
        inputs: How many inputs were run.
    """

    floats: frozenset[str]
    spared: Mapping[str, Spared]
    largest: float
    largest_name: str
    inputs: int

    def to_json(self) -> dict[str, Any]:
        """As evidence; magnitudes with 4 digits."""
        return {
            "inputs": self.inputs,
            "margin": MARGIN,
            "largest": {"value": self.largest_name, "magnitude": float(f"{self.largest:.4g}")},
            "spared": [
                {"node": name, "why": found.why}
                | ({"magnitude": float(f"{found.magnitude:.4g}")} if found.magnitude else {})
                for name, found in self.spared.items()
            ],
        }


def node_key(node: ir.Node) -> str:
    """What a node is called here: its first output, which always has a name."""
    return next(value.name or "" for value in node.outputs if value.name)


def replace_masks(graph: ir.Graph) -> int:
    """Write constants that stand for minus infinity as :data:`MASK`, in place; the new ones are named so.

    Returns:
        The number of constants.
    """
    count = 0
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
            continue
        array = constant(value)
        lowest = np.isfinite(array) & (array <= MASK_FROM)
        if lowest.any():
            masked = initializer(graph, name + MASKED, np.where(lowest, np.float32(MASK), array))
            ir.convenience.replace_all_uses_with(value, masked)
            count += 1
    return count


def probe(fp32: Path, component: str, batches: Sequence[Feeds], work: Path) -> Overflow:
    """Run a component's float graph and find what float16 cannot hold.

    Args:
        fp32: Folder of the float graphs.
        component: Which of them.
        batches: Its inputs.
        work: A folder for the graphs that measure.

    Raises:
        ExportError: There is nothing to run it on, or the graph has control flow, whose branches are not looked into.
    """
    model = component_files.load_one(fp32, component)
    if any(attribute.type == ir.AttributeType.GRAPH for node in model.graph for attribute in node.attributes.values()):
        raise ExportError("fp16: the graph has control flow, which the overflow probe does not look into")
    if not batches:
        raise ExportError("fp16: no calibration inputs to look for overflows with")
    replace_masks(model.graph)
    floats = _float_values(model, component, work)
    chosen = list(batches[:INPUTS])
    seen = _measure(model, component, floats, chosen, work)
    spared = _spared(model.graph, floats, seen)
    name = max(seen.magnitude, key=lambda name: seen.magnitude[name], default="")
    return Overflow(floats, spared, seen.magnitude.get(name, 0), name, len(chosen))


@dataclass(slots=True)
class _Seen:
    """By value name: the largest magnitude, the largest share lost in float16; by node: the bound on inner sums."""

    magnitude: dict[str, float]
    loss: dict[str, float]
    inner: dict[str, float]


def _float_values(model: ir.Model, component: str, work: Path) -> frozenset[str]:
    """Names of the float32 values, as ONNX Runtime, which knows every operator, infers them."""
    kept = list(model.graph.outputs)
    names = {value.name for value in kept}
    model.graph.outputs.extend(
        value for node in model.graph for value in node.outputs if value.name and value.name not in names
    )
    session = _session(model, component, work / "types")
    model.graph.outputs[:] = kept
    found = [*session.get_inputs(), *session.get_outputs()]
    return frozenset(value.name for value in found if value.type == _FLOAT)


def _measure(model: ir.Model, component: str, floats: frozenset[str], batches: Sequence[Feeds], work: Path) -> _Seen:
    graph = model.graph.clone()
    measuring = ir.Model(graph, ir_version=model.ir_version)
    inputs = [value for value in graph.inputs if value.name in floats]
    nodes = list(graph)
    values = inputs + [value for node in nodes for value in node.outputs if value.name in floats]
    zero = initializer(graph, "overflow.zero", np.zeros(1, np.float32))
    flat = initializer(graph, "overflow.flat", np.array([-1], np.int64))
    graph.outputs[:] = []
    for value in values:
        finite = _finite(graph, value, zero, flat)
        rounded = _node(graph, "Cast", [_node(graph, "Cast", [finite], to=ir.DataType.FLOAT16)], to=ir.DataType.FLOAT)
        lost = _node(graph, "ReduceL2", [_node(graph, "Sub", [finite, rounded])], keepdims=0)
        size = _node(graph, "ReduceL2", [finite], keepdims=0)
        largest = _node(graph, "ReduceMax", [_node(graph, "Abs", [finite])], keepdims=0)
        for what, result in (("magnitude", largest), ("lost", lost), ("size", size)):
            _publish(graph, result, f"{what} {value.name}")
    for node in nodes:
        if node.op_type in _BOUNDS and node.domain == "" and node_key(node) in floats:
            operands = [
                _node(graph, "Abs", [value]) if value is not None and index in _summed(node) else value
                for index, value in enumerate(node.inputs)
            ]
            bound = ir.node(_BOUNDS[node.op_type], operands, attributes=dict(node.attributes))
            graph.append(bound)
            largest = _node(graph, "ReduceMax", [_finite(graph, bound.outputs[0], zero, flat)], keepdims=0)
            _publish(graph, largest, f"inner {node_key(node)}")
    session = _session(measuring, component, work / "magnitudes")
    names = [value.name for value in session.get_outputs()]
    seen = _Seen({}, {}, {})
    for feeds in batches:
        found = {name: float(number) for name, number in zip(names, session.run(None, dict(feeds)), strict=True)}
        for name, number in found.items():
            what, _, key = name.partition(" ")
            if what == "magnitude":
                seen.magnitude[key] = max(seen.magnitude.get(key, 0.0), number)
            elif what == "inner":
                seen.inner[key] = max(seen.inner.get(key, 0.0), number)
            elif what == "lost" and found[f"size {key}"] > 0:
                seen.loss[key] = max(seen.loss.get(key, 0.0), number / found[f"size {key}"])
    return seen


def _spared(graph: ir.Graph, floats: frozenset[str], seen: _Seen) -> dict[str, Spared]:
    limit = LARGEST / MARGIN
    lossy = {name for name, value in graph.initializers.items() if _does_not_fit(value)}
    spared: dict[str, Spared] = {}
    for node in graph:
        outputs = [value.name for value in node.outputs if value.name in floats]
        operands = [value.name for value in node.inputs if value is not None and value.name in floats]
        constants = [value.name for value in node.inputs if value is not None and value.name in lossy]
        if not outputs and not operands:
            continue
        for reason in _reasons(outputs, operands, constants, seen, limit, node_key(node)):
            spared[node_key(node)] = reason
            break
    return spared


def _reasons(
    outputs: Sequence[str], operands: Sequence[str], constants: Sequence[str], seen: _Seen, limit: float, key: str
) -> Iterator[Spared]:
    for where, names in (("gives", outputs), ("takes", operands)):
        for name in names:
            if not seen.magnitude.get(name, 0) <= limit:
                yield Spared(f"{where} values beyond {limit:.0f}", seen.magnitude[name])
    if not seen.inner.get(key, 0) <= limit:
        yield Spared(f"adds up to more than {limit:.0f}", seen.inner[key])
    for name in constants:
        yield Spared(f"its constant {name} is lost in float16")
    for where, names in (("gives", outputs), ("takes", operands)):
        for name in names:
            if not seen.loss.get(name, 0) <= LOSS_MAX:
                yield Spared(f"{where} values of which float16 loses {100 * seen.loss[name]:.2g} %")


def _does_not_fit(value: ir.Value) -> bool:
    """Whether float16 loses a constant: parts of it are out of range, or all of it is too small."""
    if value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
        return False
    array = constant(value).astype(np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return False
    if np.abs(finite).max() > LARGEST:
        return True
    size = float(np.linalg.norm(finite))
    lost = float(np.linalg.norm(finite - finite.astype(np.float16).astype(np.float64)))
    return lost > LOSS_MAX * size


def _summed(node: ir.Node) -> frozenset[int]:
    """Which operands of a node of :data:`_BOUNDS` are added up; the others are axes."""
    return frozenset(range(len(node.inputs))) if node.op_type in ("MatMul", "Gemm", "Conv") else frozenset({0})


def _finite(graph: ir.Graph, value: ir.Value, zero: ir.Value, flat: ir.Value) -> ir.Value:
    """The values as a vector, infinities as zero (a mask may be minus infinity) and a zero at its end: never empty."""
    infinite = _node(graph, "IsInf", [value])
    finite = _node(graph, "Where", [infinite, zero, value])
    return _node(graph, "Concat", [_node(graph, "Reshape", [finite, flat]), zero], axis=0)


def _node(graph: ir.Graph, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
    node = ir.node(op_type, list(inputs), attributes)
    graph.append(node)
    return node.outputs[0]


def _publish(graph: ir.Graph, value: ir.Value, name: str) -> None:
    value.name = name
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(())
    graph.outputs.append(value)


def _session(model: ir.Model, component: str, folder: Path) -> ort.InferenceSession:
    return write_and_open(model, component, folder, as_written=True)
