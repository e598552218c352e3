"""The border to edgekit: a model and a sample become graphs by the product's own export, graphs become sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import onnxruntime

from benchmarks.matrix.failure import Stage, during
from edgekit.stages.export import Part, export
from edgekit.stages.generation_parts import generation_parts

_SEQUENCE: Final = ("input_ids", "attention_mask", "token_type_ids", "bbox")


def export_single(model: Any, feeds: Mapping[str, Any], outputs: tuple[str, ...], folder: Path) -> Path:
    """Export a model that answers in one forward, its batch and length free; returns the graph's path.

    Raises:
        edgekit.errors.ExportError: The exporter failed, or fixed what must be free.
    """
    axes = {name: ("batch", "sequence") if name in _SEQUENCE else ("batch",) for name in feeds}
    path = folder / "model.onnx"
    ir.save(export(Part(module=model, sample=dict(feeds), outputs=outputs, axes=axes)), path)
    return path


def export_components(model: Any, folder: Path) -> dict[str, Path]:
    """Export the components of a model that generates; returns their paths by name.

    Raises:
        benchmarks.matrix.failure.Failure: One cannot be exported; it says which.
    """
    paths = {}
    for name, part in generation_parts(model).items():
        paths[name] = folder / f"{name}.onnx"
        with during(Stage.EXPORT, name):
            ir.save(export(part), paths[name])
    return paths


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on one thread with ONNX Runtime's own optimizations, as on a device."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The session's outputs by name; inputs it does not have are left out."""
    names = [value.name for value in session.get_outputs()]
    taken = {value.name for value in session.get_inputs()}
    found = session.run(names, {name: value for name, value in feeds.items() if name in taken})
    return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}
