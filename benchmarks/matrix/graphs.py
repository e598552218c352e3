"""The one border to the exporter: a model and a sample become a graph, a graph becomes a session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgekit.stages.reference import quiet


def export(model: Any, feeds: Mapping[str, Any], outputs: tuple[str, ...]) -> ir.Model:
    with quiet():
        from transformers.exporters import OnnxConfig, OnnxExporter

        exported = OnnxExporter().export(model, dict(feeds), OnnxConfig(dynamic=True, opset_version=20))
    program: ir.Model = exported.program
    found = {value.name: value for value in program.graph.outputs}
    program.graph.outputs[:] = [found[name] for name in outputs if name in found]
    RemoveUnusedNodesPass()(program)
    return program


def save(program: ir.Model, folder: Path) -> Path:
    path = folder / "model.onnx"
    ir.save(program, path)
    return path


def open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def export_components(model: Any, folder: Path) -> dict[str, Path]:
    from edgekit.stages.generation_export import export_part
    from edgekit.stages.generation_parts import generation_parts

    paths = {}
    for name, part in generation_parts(model).items():
        paths[name] = folder / f"{name}.onnx"
        ir.save(export_part(name, part), paths[name])
    return paths
