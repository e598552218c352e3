"""float16: what overflows stays in float32, and what would not is seen here although this CPU computes in float32."""

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import ExportError
from edgekit.stages import component_files
from edgekit.stages.elsewhere import round_halves
from edgekit.stages.half import to_half
from edgekit.stages.overflow import MASK, probe
from edgekit.stages.products import constant
from edgekit.stages.weights import compare_weights

from .masked_graph import feeds, masked_graph, run
from .tiny_graph import relative_error

ROUNDED = {"optimization__disable_specified_optimizers": "EliminateIdentity"}


def found(model, folder, *batches):
    component_files.save({"model": model}, folder / "fp32")
    return probe(folder / "fp32", "model", batches or [feeds()], folder / "probe")


def halved(folder, overflow):
    model = component_files.load_one(folder / "fp32", "model")
    counts = to_half(model, overflow)
    component_files.save({"model": model}, folder / "fp16")
    return model, counts


def rounded_answers(folder, inputs):
    model = component_files.load_one(folder / "fp16", "model")
    assert round_halves(model)
    return run(model, inputs, **ROUNDED)


def graph(nodes, constants, inputs, output="y", **opsets):
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 20), *(helper.make_opsetid(name, 1) for name in opsets.values())]
    return ir.from_proto(helper.make_model(made, opset_imports=imports, ir_version=10))


def test_a_graph_within_range_becomes_float16_and_answers_alike(tmp_path):
    overflow = found(masked_graph(), tmp_path)
    model, counts = halved(tmp_path, overflow)
    assert counts["nodes float16"] >= 11
    assert {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)} == {ir.DataType.FLOAT}
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert constant(model.graph.initializers["keys.half"]).dtype == np.float16
    exact = run(masked_graph(), feeds())
    assert 0 < relative_error(rounded_answers(tmp_path, feeds()), exact) < 3e-3
    assert all(
        check.passed for check in compare_weights(tmp_path / "fp16", tmp_path / "fp32").checks(saturating_target=True)
    )


def test_what_overflows_stays_in_float32(tmp_path):
    loud = masked_graph(gain=1e5)
    overflow = found(loud, tmp_path)
    assert set(overflow.spared) >= {"loud", "quiet"}
    assert "scores" not in overflow.spared
    assert overflow.largest_name == "loud"
    assert overflow.largest > 1e5
    _, counts = halved(tmp_path, overflow)
    assert counts["nodes spared for their range"] == len(overflow.spared)
    assert relative_error(rounded_answers(tmp_path, feeds()), run(loud, feeds())) < 3e-3


def test_without_the_block_list_the_overflow_is_seen_only_where_halves_are_rounded(tmp_path):
    overflow = found(masked_graph(gain=6e4), tmp_path)
    model, _ = halved(tmp_path, dataclasses.replace(overflow, spared={}))
    assert np.isnan(rounded_answers(tmp_path, feeds())).all()
    assert np.isfinite(run(model, feeds())).all()  # ONNX Runtime's CPU provider alone would have let it pass


def test_values_near_the_end_of_the_range_are_spared_before_they_leave_it(tmp_path):
    largest = np.abs(feeds()["x"]).max()
    assert "loud" in found(masked_graph(gain=40000 / largest), tmp_path / "near").spared
    assert "loud" not in found(masked_graph(gain=20000 / largest), tmp_path / "far").spared


@pytest.mark.parametrize("lowest", [-3.4028234663852886e38, -1e9, -1e30])
def test_a_mask_still_masks_and_stays_finite(tmp_path, lowest):
    overflow = found(masked_graph(lowest=lowest), tmp_path)
    assert "masked" not in overflow.spared
    model, counts = halved(tmp_path, overflow)
    assert counts["masks kept finite"] == 1
    assert constant(model.graph.initializers["lowest.mask.half"]) == MASK
    inputs = feeds()
    shown = inputs["mask"][:, :1].repeat(inputs["mask"].shape[1], axis=1) * (np.arange(5) == 0)
    only_first = inputs | {"mask": shown.astype(np.float32)}
    assert relative_error(rounded_answers(tmp_path, only_first), run(masked_graph(), only_first)) < 3e-3


def test_a_constant_out_of_range_that_is_no_mask_stays_in_float32(tmp_path):
    overflow = found(masked_graph(lowest=-1e5), tmp_path)
    assert set(overflow.spared) >= {"bias", "masked", "weights"}
    model, _ = halved(tmp_path, overflow)
    assert constant(model.graph.initializers["lowest"]) == np.float32(-1e5)
    assert relative_error(rounded_answers(tmp_path, feeds()), run(masked_graph(lowest=-1e5), feeds())) < 3e-3


def test_an_epsilon_that_would_become_zero_stays_in_float32(tmp_path):
    overflow = found(masked_graph(epsilon=1e-12), tmp_path)
    assert "epsilon is lost" in overflow.spared["under"].why


def test_sums_that_cancel_are_bounded_by_their_magnitudes(tmp_path):
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": [[300], [-300]]}, {"x": ["n", 2]})
    overflow = found(model, tmp_path, {"x": np.full((1, 2), 100, np.float32)})
    assert overflow.largest == 100
    assert overflow.spared["y"].magnitude == 60000


def test_values_that_underflow_stay_in_float32(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "x"], ["tiny"]), helper.make_node("Sqrt", ["tiny"], ["y"])]
    overflow = found(graph(nodes, {}, {"x": ["n"]}), tmp_path, {"x": np.full(4, 1e-4, np.float32)})
    assert set(overflow.spared) == {"tiny", "y"}


def test_an_infinite_mask_is_no_overflow(tmp_path):
    nodes = [helper.make_node("Add", ["x", "mask"], ["masked"]), helper.make_node("Softmax", ["masked"], ["y"])]
    overflow = found(
        graph(nodes, {"mask": [0, -np.inf]}, {"x": ["n", 2]}), tmp_path, {"x": np.ones((1, 2), np.float32)}
    )
    assert not overflow.spared


def test_a_constant_of_both_kinds_of_node_is_kept_in_both_forms(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "shared"], ["loud"]),
        helper.make_node("Div", ["loud", "shared"], ["quiet"]),
        helper.make_node("Add", ["quiet", "third"], ["more"]),
        helper.make_node("Mul", ["more", "third"], ["y"]),
    ]
    model = graph(nodes, {"shared": 1e5, "third": 1 / 3}, {"x": ["n"]})
    overflow = found(model, tmp_path, {"x": np.ones(3, np.float32)})
    kept = dataclasses.replace(overflow, spared={**overflow.spared, "more": overflow.spared["loud"]})
    model, _ = halved(tmp_path, kept)
    assert constant(model.graph.initializers["third"]) == np.float32(1 / 3)
    assert constant(model.graph.initializers["third.half"]) == np.float16(1 / 3)
    assert not compare_weights(tmp_path / "fp16", tmp_path / "fp32").changed


def test_onnxruntimes_own_operators_take_float16_and_unknown_ones_do_not(tmp_path):
    nodes = [
        helper.make_node("Gelu", ["x"], ["known"], domain="com.microsoft"),
        helper.make_node("Inverse", ["known"], ["y"], domain="com.microsoft"),
    ]
    model = graph(nodes, {}, {"x": [2, 2]}, own="com.microsoft")
    overflow = found(model, tmp_path, {"x": np.array([[1, 2], [3, 5]], np.float32)})
    model, counts = halved(tmp_path, overflow)
    assert counts["nodes float16"] == 1
    assert [node.op_type for node in model.graph] == ["Cast", "Gelu", "Cast", "Inverse"]


@pytest.mark.parametrize("norm", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_a_norms_statistics_stay_float32_so_that_the_file_opens(tmp_path, norm):
    outputs = ["normed", "mean", "deviation", "sum"]
    nodes = [
        helper.make_node(norm, ["x", "more", "gain"], outputs, domain="com.microsoft", epsilon=1e-5),
        helper.make_node("Add", ["normed", "sum"], ["y"]),
    ]
    inputs = {"x": np.array([[[1, 2, 4, 8]]], np.float32), "more": np.array([[[3, 1, 0, 1]]], np.float32)}
    model = graph(nodes, {"gain": [1, 2, 3, 4]}, dict.fromkeys(inputs, (1, 1, 4)), own="com.microsoft")
    exact = run(model, inputs)
    halved_model, counts = halved(tmp_path, found(model, tmp_path, inputs))
    assert counts["nodes float16"] == 2
    fused = next(node for node in halved_model.graph if node.op_type == norm)
    assert [value.dtype == ir.DataType.FLOAT16 for value in fused.outputs] == [True, False, False, True]
    assert relative_error(rounded_answers(tmp_path, inputs), exact) < 3e-3


def test_a_shape_is_read_without_a_cast(tmp_path):
    nodes = [
        helper.make_node("Tanh", ["x"], ["bent"]),
        helper.make_node("Shape", ["bent"], ["sizes"]),
        helper.make_node("Reshape", ["bent", "sizes"], ["y"]),
    ]
    overflow = found(graph(nodes, {}, {"x": ["n", 2]}), tmp_path, {"x": np.ones((1, 2), np.float32)})
    model, _ = halved(tmp_path, overflow)
    assert [node.op_type for node in model.graph] == ["Cast", "Tanh", "Shape", "Reshape", "Cast"]


def test_control_flow_is_refused(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])], "b", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    model = ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    with pytest.raises(ExportError, match="control flow"):
        found(model, tmp_path, {"x": np.ones(1, np.float32)})


def test_no_calibration_inputs_is_an_error(tmp_path):
    component_files.save({"model": masked_graph()}, tmp_path / "fp32")
    with pytest.raises(ExportError, match="no calibration inputs"):
        probe(tmp_path / "fp32", "model", [], tmp_path / "probe")


def test_a_graph_that_is_spared_whole_is_no_float16_file(tmp_path):
    overflow = found(masked_graph(), tmp_path)
    everything = dict.fromkeys((node.outputs[0].name for node in masked_graph().graph), None)
    with pytest.raises(ExportError, match="no node of the graph"):
        to_half(masked_graph(), dataclasses.replace(overflow, spared=everything))


def test_the_evidence_names_what_was_spared(tmp_path):
    document = found(masked_graph(gain=1e5), tmp_path).to_json()
    assert document["largest"]["value"] == "loud"
    assert {
        "node": "loud",
        "why": "gives values beyond 32752",
        "magnitude": document["largest"]["magnitude"],
    } in document["spared"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keys.half", lambda array: np.nextafter(array, np.float16(9))),
        ("gain.half", lambda array: array * np.float16(1.01)),
        ("lowest.mask.half", lambda array: array / np.float16(2)),
        ("lowest.mask.half", lambda array: array * 0),
        ("values.half", lambda array: array.astype(np.float32)),
        ("values.half", lambda array: array[::-1]),
        ("values.half", lambda array: array * np.float16("inf")),
    ],
)
def test_a_planted_fault_in_a_constant_fails_the_check(tmp_path, name, change):
    model, _ = halved(tmp_path, found(masked_graph(), tmp_path))
    assert not compare_weights(tmp_path / "fp16", tmp_path / "fp32").changed
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.asarray(change(constant(value)), order="C"), name=name)
    component_files.save({"model": model}, tmp_path / "fp16")
    assert not all(
        check.passed for check in compare_weights(tmp_path / "fp16", tmp_path / "fp32").checks(saturating_target=False)
    )


def test_a_constant_that_became_infinite_is_not_the_nearest_float16(tmp_path):
    overflow = found(masked_graph(gain=1e5), tmp_path)
    halved(tmp_path, dataclasses.replace(overflow, spared={}))
    assert "gain" in compare_weights(tmp_path / "fp16", tmp_path / "fp32").changed
