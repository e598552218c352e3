"""Predicted gain: why a model will or will not get faster, said before anything is quantized.

Only products with constant weights become int8. What they take of the float graph's time here, and how much faster
one of them is in int8 here, bound what quantizing can bring (Amdahl's law): a model whose time goes elsewhere is not
made fast by it.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgekit.runtime.timing import time_calls
from edgekit.stages import component_files
from edgekit.stages.inner_session import quiet_options
from edgekit.stages.products import products
from edgekit.stages.quantize import quantize_products
from edgekit.stages.reference import Feeds

RUNS: Final = 5
ROUNDS: Final = 15


@dataclass(frozen=True, slots=True)
class Prediction:
    """What int8 can bring on this machine.

    Attributes:
        share: Of the float graph's time, in products with constant weights.
        product_gain: Times faster that they are in int8, all together.
    """

    share: float
    product_gain: float

    @property
    def gain(self) -> float:
        """Times faster in all, if nothing else changes."""
        return 1 / (1 - self.share + self.share / self.product_gain)

    def __str__(self) -> str:
        """For people."""
        return (
            f"products with constant weights take {self.share:.0%} of the time and are {self.product_gain:.1f} x as "
            f"fast in int8 here: about {self.gain:.1f} x in all"
        )

    def to_json(self) -> dict[str, float]:
        """As evidence."""
        return {
            "share": round(self.share, 4),
            "product_gain": round(self.product_gain, 3),
            "gain": round(self.gain, 3),
        }


def predict(fp32: Path, component: str, feeds: Feeds) -> Prediction | None:
    """Profile the float graph on one input, and time its products in both forms, one of each shape.

    Args:
        fp32: Folder of the float graphs.
        component: Which of them.
        feeds: One input.

    Returns:
        None where the graph has no product with constant weights.
    """
    model = component_files.load_one(fp32, component)
    found = list(products(model.graph))
    if not found:
        return None
    path = fp32 / component_files.graph_file(component)
    times = _times(path, feeds)
    names = {product.node.name for product in found}
    own = sum(time for name, time in times.items() if name in names)
    shapes = Counter(product.matrix().shape for product in found)
    rows = max(feeds[name].size for name in feeds if feeds[name].ndim == 2) if feeds else 1
    return Prediction(own / max(sum(times.values()), 1), _product_gain(shapes, rows))


def _times(path: Path, feeds: Feeds) -> Mapping[str, float]:
    """Microseconds by node's name, over all runs."""
    with tempfile.TemporaryDirectory() as folder:
        options = quiet_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, dict(feeds))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    times: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            times[str(event["name"]).removesuffix("_kernel_time")] += int(event["dur"])
    return times


def _product_gain(shapes: Mapping[tuple[int, ...], int], rows: int) -> float:
    random = np.random.default_rng(0)
    took = dict.fromkeys(("plain", "int8"), 0.0)
    for (inputs, outputs), count in shapes.items():
        weight = random.normal(size=(inputs, outputs)).astype(np.float32)
        feeds = {"x": random.normal(size=(rows, inputs)).astype(np.float32)}
        plain, quantized = _product(weight), _product(weight)
        quantize_products(quantized)
        sessions = {"plain": _session(plain), "int8": _session(quantized)}
        times = time_calls(
            {name: partial(session.run, None, feeds) for name, session in sessions.items()},
            rounds=ROUNDS,
        )
        for name, sample in times.items():
            took[name] += count * sample.median_ms
    return took["plain"] / took["int8"]


def _session(model: ir.Model) -> ort.InferenceSession:
    options = quiet_options()
    # Two take turns, and threads of one that spin between its runs would take the CPU from the other.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])


def _product(weight: np.ndarray[Any, Any]) -> ir.Model:
    x = ir.Value(name="x", shape=ir.Shape(["rows", len(weight)]), type=ir.TensorType(ir.DataType.FLOAT))
    value = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    node = ir.node("MatMul", [x, value])
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape(["rows", weight.shape[1]])
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 20}, name="product")
    return ir.Model(graph, ir_version=10)
