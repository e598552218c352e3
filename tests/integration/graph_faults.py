"""Faults to plant: small changes to a variant's files, written where a healthy copy would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgekit.stages import component_files
from edgekit.stages.products import constant, initializer, products

Fault = Callable[[ir.Model], None]


def plant(fault: Fault, files: Path, folder: Path) -> Path:
    """A copy of a variant's files with the fault in it."""
    model = component_files.load_one(files, "model")
    fault(model)
    component_files.save({"model": model}, folder)
    return folder


def healthy(model: ir.Model) -> None:
    """No fault: the control that must pass."""


def set_constant(model: ir.Model, name: str, array: np.ndarray) -> None:
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=name)


def names(model: ir.Model, ending: str) -> list[str]:
    found = [name for name in model.graph.initializers if name.endswith(ending)]
    assert found, f"nothing ends with {ending}: {', '.join(model.graph.initializers)}"
    return found


def change(ending: str, edit: Callable[[np.ndarray], np.ndarray], *, which: int = 0) -> Fault:
    """Edit the constant whose name has that ending; ``which`` of them."""

    return lambda model: _edit(model, names(model, ending)[which], edit)


def change_product(edit: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """Edit the first whole weight that a product reads in float."""
    return lambda model: _edit(model, next(products(model.graph)).name, edit)


def _edit(model: ir.Model, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    before = constant(model.graph.initializers[name])
    after = edit(before.copy())
    assert after.dtype == before.dtype
    assert not np.array_equal(before, after, equal_nan=True), "the fault changed nothing"
    set_constant(model, name, after)


def scaled_by(factor: float, *, column: int | None = None) -> Callable[[np.ndarray], np.ndarray]:
    def edit(array: np.ndarray) -> np.ndarray:
        array[(..., column) if column is not None else ...] *= np.float32(factor)
        return array

    return edit


def flip_row(array: np.ndarray) -> np.ndarray:
    array[7] = -array[7]
    return array


def with_nan(array: np.ndarray) -> np.ndarray:
    array.flat[3] = np.nan
    return array


STRAY = "a.constant.of.its.own"


def add_constant(model: ir.Model, array: np.ndarray) -> ir.Value:
    return initializer(model.graph, STRAY, array)


def shift_weight_zero_point(model: ir.Model) -> None:
    """Give the first int8 product a zero point of its weights that they were not made with."""
    node = next(node for node in model.graph if node.op_type == "MatMulInteger")
    node.resize_inputs(4)
    node.replace_input_with(3, add_constant(model, np.array(3, np.int8)))


def shift_activation_zero_point(model: ir.Model) -> None:
    """Let the first int8 product take 0 for the zero point that its activation was quantized with."""
    node = next(node for node in model.graph if node.op_type == "MatMulInteger")
    node.replace_input_with(2, add_constant(model, np.array(0, np.uint8)))


def insert_factor(model: ir.Model) -> None:
    """Multiply the first layer normalization's output by 1.01."""
    node = next(node for node in model.graph if node.op_type == "LayerNormalization")
    output = node.outputs[0]
    factor = ir.node("Mul", [output, add_constant(model, np.array(1.01, np.float32))])
    factor.outputs[0].name = f"{output.name}.scaled"
    users = list(output.uses())
    model.graph.insert_after(node, factor)
    for user, place in users:
        if user is not factor:
            user.replace_input_with(place, factor.outputs[0])


def constant_answer(model: ir.Model) -> None:
    """Zero the last layer normalization's weight: only its bias is left of any text."""
    node = [node for node in model.graph if node.op_type == "LayerNormalization"][-1]
    name = node.inputs[1].name
    set_constant(model, name, np.zeros_like(constant(model.graph.initializers[name])))


def shuffled_weights(model: ir.Model) -> None:
    """The same numbers in random places: a model that learned nothing."""
    random = np.random.default_rng(0)
    for name, value in list(model.graph.initializers.items()):
        array = constant(value)
        if array.dtype == np.float32 and array.ndim == 2:
            set_constant(model, name, random.permutation(array.reshape(-1)).reshape(array.shape))
