"""The border to edgekit: a model and a sample become graphs by the product's own export, graphs become sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir
import onnxruntime

from edgekit.stages.export import Part, export

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
    """Export the components of a model that generates; returns their paths by name."""
    from edgekit.stages.generation_export import export_part
    from edgekit.stages.generation_parts import generation_parts

    paths = {}
    for name, part in generation_parts(model).items():
        paths[name] = folder / f"{name}.onnx"
        ir.save(export_part(name, part), paths[name])
    return paths


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on one thread with ONNX Runtime's own optimizations, as on a device."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
