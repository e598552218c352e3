"""Export: a part of the reference as a float32 ONNX graph with clean names and free dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from edgekit.errors import ExportError
from edgekit.stages.generation_graph import cache_in_place, rotate_before_attention
from edgekit.stages.parameter_names import name_weights
from edgekit.stages.quiet import quiet
from edgekit.stages.quirks import fitted_sample, fitted_trace
from edgekit.stages.reasons import why

OPSET: Final = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the reference that becomes one component.

    Attributes:
        module: A torch module in float32.
        sample: Example inputs by name, torch tensors, in the order the graph shall have them. No dimension that is
            free may have the size 0 or 1, nor two that are independent the same one: the exporter would fix them.
            A list of dicts of tensors, such as a cache by layer, becomes inputs named ``past.0.key``.
        outputs: Names of the outputs to keep.
        axes: The leading dimensions of each input and output: a name must come out free, a number stays. Where an
            input has a number, or the part is fused, every input must be here with all its dimensions.
        fused: Whether the exporter may use ONNX Runtime's own operators for its CPU, such as
            ``com.microsoft.GroupQueryAttention`` for attention over a cache. Such a graph runs on ONNX Runtime alone.
    """

    module: Any
    sample: Mapping[str, Any]
    outputs: tuple[str, ...]
    axes: Mapping[str, tuple[str | int, ...]]
    fused: bool = False


def export(part: Part) -> ir.Model:
    """Export through ``transformers.exporters`` and clean the graph up.

    Returns:
        A graph with the part's inputs and outputs, in its order.

    Raises:
        ExportError: The exporter failed, or the graph is not of that form.
    """
    with quiet():
        from transformers.exporters import OnnxConfig, OnnxExporter

        config = OnnxConfig(
            dynamic=True,
            dynamic_shapes=_free_dimensions(part),
            opset_version=OPSET,
            ort_fusions="cpu" if part.fused else None,
        )
        try:
            with fitted_trace(part.module):
                exported = OnnxExporter().export(part.module, dict(fitted_sample(part.module, part.sample)), config)
        except Exception as error:
            reason = why(error)
            raise ExportError(
                f"{type(part.module).__name__} cannot be exported: {reason.text}", hint=reason.hint
            ) from error
    model: ir.Model = ir.external_data.load_to_model(exported.program)
    if part.fused:
        rotate_before_attention(model)
        name_weights(model, part.module)
    clean(model, part)
    if part.fused:
        cache_in_place(model)
    return model


def clean(model: ir.Model, part: Part) -> None:
    """Keep the outputs asked for, name inputs and dimensions, and drop what tells of the machine, in place.

    Raises:
        ExportError: An input or output is missing, or a dimension that must be free is fixed.
    """
    graph = model.graph
    outputs = {value.name: value for value in graph.outputs}
    for name in part.outputs:
        if name not in outputs:
            raise ExportError(f"the graph has no output {name}: found {', '.join(str(name) for name in outputs)}")
    graph.outputs[:] = [outputs[name] for name in part.outputs]
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
    ClearMetadataAndDocStringPass()(model)  # the exporter leaves stack traces with paths in it
    _order_inputs(graph, part)
    for value in (*graph.inputs, *graph.outputs):
        _name_axes(value, part.axes.get(str(value.name), ()))
    model.producer_name, model.producer_version = "edgekit", ""
    model.metadata_props.clear()
    for index, node in enumerate(graph):
        node.name = f"{node.op_type}_{index}"


def _order_inputs(graph: ir.Graph, part: Part) -> None:
    inputs = {str(value.name): value for value in graph.inputs}
    names = [name for name, _ in _leaves(part.sample)]
    if set(inputs) - set(names):
        raise ExportError(f"the graph's inputs are {', '.join(sorted(inputs))}; expected {', '.join(names)}")
    graph.inputs[:] = [inputs[name] for name in names if name in inputs]


def _name_axes(value: ir.Value, axes: tuple[str | int, ...]) -> None:
    shape = value.shape
    if shape is None or len(shape) < len(axes):
        raise ExportError(f"{value.name}: has shape {shape} in the exported graph; expected {axes}")
    for axis, dimension in zip(axes, shape, strict=False):
        if isinstance(dimension, int) and isinstance(axis, str):
            raise ExportError(
                f"{value.name}: {axis} is fixed in the exported graph: {shape}",
                hint="the exporter took the sample's size for the only one: report it with the model's name",
            )
        if isinstance(dimension, int) and dimension != axis:
            raise ExportError(f"{value.name}: has shape {shape} in the exported graph; expected {axes}")
    value.shape = ir.Shape([*axes, *shape[len(axes) :]])


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors of a sample with their names in the graph."""
    if not isinstance(values, Mapping | list):
        yield prefix, values
        return
    for name, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        yield from _leaves(value, f"{prefix}.{name}" if prefix else str(name))


def _free_dimensions(part: Part) -> Any:
    """What ``torch.export`` has to leave free where other dimensions stay; None lets it find out by itself.

    ``DYNAMIC`` makes it fail where such a dimension comes out fixed. A dimension that is free without need costs it
    minutes in models that reshape images into windows.
    """
    import torch

    numbered = any(isinstance(axis, int) for name, _ in _leaves(part.sample) for axis in part.axes.get(name, ()))
    if not part.fused and not numbered:
        return None

    def of(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: of(f"{name}.{key}", item) for key, item in value.items()}
        if isinstance(value, list):
            return [of(f"{name}.{index}", item) for index, item in enumerate(value)]
        free = (index for index, axis in enumerate(part.axes[name]) if isinstance(axis, str))
        return dict.fromkeys(free, torch.export.Dim.DYNAMIC)

    return {name: of(name, value) for name, value in part.sample.items()}
