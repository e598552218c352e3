"""Export the components of a generating model as float32 ONNX graphs with the names and free sizes they promise.

The exporter's fusions for the CPU turn attention over a cache into ``com.microsoft.GroupQueryAttention`` and norms and
rotary embeddings into ONNX Runtime's own operators, so these graphs run on ONNX Runtime alone: on its CPU provider
in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from edgekit.errors import ExportError
from edgekit.stages.export import OPSET
from edgekit.stages.generation_graph import rotate_before_attention
from edgekit.stages.generation_parts import Axes, GenerationPart
from edgekit.stages.reference import quiet


def export_part(name: str, part: GenerationPart) -> ir.Model:
    """Export one component.

    Args:
        name: The component's, for errors.
        part: What to export.

    Raises:
        ExportError: The exporter failed, or fixed a size that must be free.
    """
    with quiet():
        import torch
        from transformers.exporters import OnnxConfig, OnnxExporter

        config = OnnxConfig(dynamic=True, dynamic_shapes=_dynamic_shapes(part), opset_version=OPSET, ort_fusions="cpu")
        try:
            with torch.no_grad():
                exported = OnnxExporter().export(part.module, dict(part.sample), config)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(
                f"{name}: the exporter failed: {reason}", hint="run again with --debug for its traceback"
            ) from error
    model: ir.Model = ir.external_data.load_to_model(exported.program)
    rotate_before_attention(model)
    clean(name, model, part.inputs, part.outputs)
    return model


def clean(name: str, model: ir.Model, inputs: Mapping[str, Axes], outputs: Mapping[str, Axes]) -> None:
    """Order and name inputs, outputs and their axes, and drop what tells of the machine, in place.

    Raises:
        ExportError: An input or output is missing, or one of its sizes is not as promised.
    """
    graph = model.graph
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
    ClearMetadataAndDocStringPass()(model)  # the exporter leaves stack traces with paths in it
    graph.inputs[:] = _ordered(name, {str(value.name): value for value in graph.inputs}, inputs)
    graph.outputs[:] = _ordered(name, {str(value.name): value for value in graph.outputs}, outputs)
    model.producer_name, model.producer_version = "edgekit", ""
    model.metadata_props.clear()
    for index, node in enumerate(graph):
        node.name = f"{node.op_type}_{index}"


def _ordered(name: str, found: Mapping[str, ir.Value], expected: Mapping[str, Axes]) -> list[ir.Value]:
    if set(found) != set(expected):
        raise ExportError(f"{name}: the graph has {', '.join(sorted(found))}; expected {', '.join(sorted(expected))}")
    for key, axes in expected.items():
        shape = found[key].shape
        if shape is None or len(shape) != len(axes):
            raise ExportError(f"{name}: {key} has shape {shape}; expected {axes}")
        for axis, size in zip(axes, shape, strict=True):
            if isinstance(axis, str) and isinstance(size, int):
                raise ExportError(
                    f"{name}: {key} has its {axis} fixed to {size}: {shape}",
                    hint="the exported graph would answer for that size alone",
                )
            if isinstance(axis, int) and isinstance(size, int) and axis != size:
                raise ExportError(f"{name}: {key} has shape {shape}; expected {axes}")
        found[key].shape = ir.Shape(axes)
    return [found[key] for key in expected]


def _dynamic_shapes(part: GenerationPart) -> dict[str, Any]:
    """What ``torch.export`` is to leave free; ``DYNAMIC`` makes it fail where a size it may not fix comes out fixed."""
    import torch

    def of(name: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            free = (index for index, axis in enumerate(part.inputs[name]) if isinstance(axis, str))
            return dict.fromkeys(free, torch.export.Dim.DYNAMIC)
        if isinstance(value, list):
            return [of(f"{name}.{index}", item) for index, item in enumerate(value)]
        return {key: of(f"{name}.{key}", item) for key, item in value.items()}

    return {name: of(name, value) for name, value in part.sample.items()}
