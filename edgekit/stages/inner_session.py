"""Running a graph in the making: on the CPU, without ONNX Runtime's warnings, which would be about our own passes."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort

from edgekit.runtime.host import usable_threads
from edgekit.stages import component_files


def open_component(folder: Path, component: str, *, as_written: bool = False) -> ort.InferenceSession:
    """A session on one component's graph.

    Args:
        folder: Of the graphs.
        component: Which of them.
        as_written: Whether ONNX Runtime leaves the graph as it is, so that every inner value exists.
    """
    options = quiet_options()
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = folder / component_files.graph_file(component)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def write_and_open(model: ir.Model, component: str, folder: Path, *, as_written: bool = False) -> ort.InferenceSession:
    """A session on a changed copy of a component's graph, such as one that gives inner values out.

    Args:
        model: The changed graph.
        component: Which it is.
        folder: Where it is written, for ONNX Runtime takes large weights from files only.
        as_written: As for :func:`open_component`.
    """
    component_files.save({component: model}, folder)
    return open_component(folder, component, as_written=as_written)


def quiet_options() -> ort.SessionOptions:
    """Options of a session that does not warn, on the threads that this process may use."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = usable_threads()
    return options
