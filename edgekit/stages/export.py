"""Export: a part of the reference as a float32 ONNX graph with clean names and free dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from edgekit.errors import ExportError
from edgekit.stages.quiet import first_line, quiet

OPSET: Final = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the reference that becomes one component.

    Attributes:
        module: A torch module in float32.
        sample: Example inputs by name, torch tensors, in the order the graph shall have them. No dimension that is
            free may have the size 0 or 1, nor two that are independent the same one: the exporter would fix them.
        outputs: Names of the outputs to keep.
        axes: Names of the leading dimensions of each input and output; each of these must come out free.
    """

    module: Any
    sample: Mapping[str, Any]
    outputs: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]


def export(part: Part) -> ir.Model:
    """Export through ``transformers.exporters`` and clean the graph up.

    Returns:
        A graph with the part's inputs and outputs, in its order.

    Raises:
        ExportError: The exporter failed, or the graph is not of that form.
    """
    with quiet():
        from transformers.exporters import OnnxConfig, OnnxExporter

        try:
            exported = OnnxExporter().export(
                part.module, dict(part.sample), OnnxConfig(dynamic=True, opset_version=OPSET)
            )
        except Exception as error:
            raise ExportError(
                f"{type(part.module).__name__}: the exporter failed: {first_line(error)}",
                hint="run again with --debug for its traceback",
            ) from error
    model: ir.Model = ir.external_data.load_to_model(exported.program)
    clean(model, part)
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
    inputs = {value.name: value for value in graph.inputs}
    unknown = sorted(str(name) for name in set(inputs) - set(part.sample))
    if unknown:
        raise ExportError(
            f"the graph's inputs are {', '.join(sorted(map(str, inputs)))}; expected {', '.join(part.sample)}"
        )
    graph.inputs[:] = [inputs[name] for name in part.sample if name in inputs]


def _name_axes(value: ir.Value, axes: tuple[str, ...]) -> None:
    shape = value.shape
    if shape is None or any(isinstance(dimension, int) for dimension in shape[: len(axes)]):
        raise ExportError(
            f"{value.name}: {' or '.join(axes)} is fixed in the exported graph: {shape}",
            hint="the exporter took the sample's size for the only one: report it with the model's name",
        )
    value.shape = ir.Shape([*axes, *shape[len(axes) :]])
