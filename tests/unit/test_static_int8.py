"""Static int8 between QuantizeLinear and DequantizeLinear, in the one form that TensorRT's kernels take."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import ExportError
from edgekit.stages import component_files
from edgekit.stages.ladder import STATIC_LADDER
from edgekit.stages.products import constant
from edgekit.stages.recipes import make
from edgekit.stages.start import Start
from edgekit.stages.static_int8 import activation_scales, quantize_static
from edgekit.stages.weights import compare_weights

from .masked_graph import run
from .tiny_graph import answers, inputs, relative_error, tiny_graph

STATIC = [recipe for recipe in STATIC_LADDER if recipe.products == "static"]
AS_WRITTEN = {"session__disable_quant_qdq": "1"}


def quantized(folder, model=None, batches=None):
    model = model or tiny_graph()
    count = quantize_static(model, activation_scales(model, "model", batches or [{"x": inputs()}], folder))
    return model, count


def test_both_operands_of_every_product_are_dequantized_with_a_symmetric_scale(tmp_path):
    model, count = quantized(tmp_path)
    assert count == 2
    for node in model.graph:
        if node.op_type != "MatMul":
            continue
        left, right = (value.producer() for value in node.inputs)
        assert (left.op_type, right.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert left.inputs[0].producer().op_type == "QuantizeLinear"
        assert left.inputs[0].producer().inputs[1:] == left.inputs[1:]  # scale and zero point are one and the same
        assert constant(left.inputs[2]) == np.int8(0)
        assert constant(left.inputs[1]).shape == ()
        weight, scale = right.inputs
        assert constant(weight).dtype == np.int8
        assert constant(scale).shape == (constant(weight).shape[1],)
        assert right.attributes.get_int("axis") == 1
    assert "up" not in model.graph.initializers


def test_the_answers_stay_close(tmp_path):
    model, _ = quantized(tmp_path)
    exact = answers(tiny_graph(), inputs())
    assert 1e-4 < relative_error(run(model, {"x": inputs()}, **AS_WRITTEN), exact) < 0.1


def test_smoothing_helps_static_ranges_too(tmp_path):
    exact = answers(tiny_graph(), inputs())
    component_files.save({"model": tiny_graph()}, tmp_path / "fp32")
    errors = {}
    for recipe in STATIC:
        made = make(recipe, Start(tmp_path / "fp32", {"model": [{"x": inputs()}]}), tmp_path / recipe.variant_name)
        model = component_files.load_one(tmp_path / recipe.variant_name, "model")
        errors[recipe.smooth] = relative_error(run(model, {"x": inputs()}, **AS_WRITTEN), exact)
        report = compare_weights(tmp_path / recipe.variant_name, made.start.folder)
        assert all(check.passed for check in report.checks(saturating_target=False))
        assert report.quantized == 2
    assert errors[True] < 0.6 * errors[False]


def test_a_lone_outlier_is_clipped_for_the_rest(tmp_path):
    x = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
    x[0, 0] = 30
    model = tiny_graph()
    scale = activation_scales(model, "model", [{"x": x}], tmp_path)["x"] * 127
    assert 8 < scale < 20
    flat = activation_scales(model, "model", [{"x": np.clip(x, -2, 2)}], tmp_path)["x"] * 127
    assert flat == pytest.approx(2, rel=0.05)


def other_products():
    random = np.random.default_rng(5)
    constants = {
        "kernel": random.normal(size=(6, 3, 2, 2)).astype(np.float32) * np.arange(1, 7).reshape(6, 1, 1, 1),
        "turned": random.normal(size=(4, 6)).astype(np.float32) * np.arange(1, 5).reshape(4, 1),
        "bias": random.normal(size=4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "turned", "bias"], ["y"], transB=1),
    ]
    made = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    return ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def test_convolutions_and_turned_products_have_a_scale_per_output(tmp_path):
    images = {"x": np.random.default_rng(6).normal(size=(5, 3, 8, 8)).astype(np.float32)}
    component_files.save({"model": other_products()}, tmp_path / "fp32")
    model, count = quantized(tmp_path / "work", other_products(), [images])
    assert count == 2
    assert constant(model.graph.initializers["kernel.scale"]).shape == (6,)
    assert constant(model.graph.initializers["turned.scale"]).shape == (4,)
    assert relative_error(run(model, images, **AS_WRITTEN), run(other_products(), images)) < 0.05
    component_files.save({"model": model}, tmp_path / "made")
    report = compare_weights(tmp_path / "made", tmp_path / "fp32")
    assert all(check.passed for check in report.checks(saturating_target=False))
    assert report.worst_step > 0.3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("up.scale", lambda scale: scale * np.float32(1.01)),
        ("up.int8", lambda integers: integers[::-1]),
        ("static_zero", lambda zero: zero + np.int8(1)),
        ("x.static_scale", lambda scale: -scale),
        ("x.static_scale", lambda scale: scale * np.float32("nan")),
        ("gain", lambda gain: gain * np.float32(1.01)),
    ],
)
def test_a_planted_fault_fails_the_check(tmp_path, name, change):
    component_files.save({"model": tiny_graph()}, tmp_path / "fp32")
    model, _ = quantized(tmp_path / "work")
    component_files.save({"model": model}, tmp_path / "made")
    assert not compare_weights(tmp_path / "made", tmp_path / "fp32").changed
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.asarray(change(constant(value)), order="C"), name=name)
    component_files.save({"model": model}, tmp_path / "made")
    report = compare_weights(tmp_path / "made", tmp_path / "fp32")
    assert not all(check.passed for check in report.checks(saturating_target=False))


def test_nothing_to_quantize_and_nothing_to_calibrate_with_are_errors(tmp_path):
    with pytest.raises(ExportError, match="no calibration inputs"):
        activation_scales(tiny_graph(), "model", [], tmp_path)
    model, _ = quantized(tmp_path)
    with pytest.raises(ExportError, match="no product"):
        quantize_static(model, {})
