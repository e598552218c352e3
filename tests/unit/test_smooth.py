"""Smoothing changes inputs of products and no answer, wherever the input comes from."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages import component_files
from edgekit.stages.calibrate import Calibration
from edgekit.stages.ladder import LADDER
from edgekit.stages.recipes import make
from edgekit.stages.smooth import sites, smooth
from edgekit.stages.start import Start

WIDTH, HEADS, LENGTH = 32, 4, 7
RECIPE = next(recipe for recipe in LADDER if recipe.name == "int8-dynamic+smooth")


def layer(*, residual=True, bias=True):
    """A norm, a packed product, attention and an output product; the norm's output is added at the end or not."""
    random = np.random.default_rng(0)
    constants = {
        "scale": random.normal(1, 0.3, WIDTH) * np.where(np.arange(WIDTH) == 5, 30, 1),
        "shift": random.normal(0, 2, WIDTH),
        "qkv": random.normal(0, 0.3, (WIDTH, 3 * WIDTH)),
        "qkv.bias": random.normal(0, 1, 3 * WIDTH),
        "out": random.normal(0, 0.3, (WIDTH, WIDTH)),
        "out.bias": random.normal(0, 1, WIDTH),
    }
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()]
    initializers.append(numpy_helper.from_array(np.array([WIDTH] * 3), "sizes"))
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["normed"], epsilon=1e-6),
        helper.make_node("MatMul", ["normed", "qkv"], ["packed"]),
        helper.make_node("Add", ["packed", "qkv.bias"], ["biased"]),
        helper.make_node("Split", ["biased", "sizes"], ["q", "k", "v"], axis=-1),
        helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["mixed"], domain="com.microsoft", num_heads=HEADS),
        helper.make_node("MatMul", ["mixed", "out"], ["product"]),
        helper.make_node("Add", ["product", "out.bias"] if bias else ["product", "x"], ["attended"]),
        helper.make_node("Add", ["attended", "normed" if residual else "x"], ["y"]),
    ]
    shape = ["batch", "sequence", WIDTH]
    made = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return ir.from_proto(helper.make_model(made, opset_imports=opsets, ir_version=10))


def texts(count=12):
    random = np.random.default_rng(3)
    return [{"x": random.normal(size=(1, LENGTH, WIDTH)).astype(np.float32)} for _ in range(count)]


def answers(model, feeds):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, one)[0] for one in feeds])


def bounds(model, folder, feeds):
    component_files.save({"model": model}, folder / "fp32")
    return Calibration(folder / "fp32", "model", feeds, folder / "work").bounds


def kinds(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_no_answer_changes_and_no_multiplication_is_added(tmp_path, residual, bias):
    feeds, model = texts(), layer(residual=residual, bias=bias)
    exact = answers(model, feeds)
    assert smooth(model, bounds(layer(residual=residual, bias=bias), tmp_path, feeds)) == 2
    assert np.abs(answers(model, feeds) - exact).max() < 1e-5 * np.abs(exact).max()
    assert "Mul" not in kinds(model)
    # A norm that feeds the residual too is kept, and a second one made for the product.
    assert kinds(model).count("LayerNormalization") == (2 if residual else 1)


def test_a_bound_is_halfway_between_what_inputs_reach_on_average_and_in_all(tmp_path):
    feeds = texts(8)
    normed = [bounds(layer(), tmp_path / str(place), [one])["normed"] for place, one in enumerate(feeds)]
    for side, farthest in ((0, np.min), (1, np.max)):
        each = np.stack([one[side] for one in normed])
        found = bounds(layer(), tmp_path / "all", feeds)["normed"][side]
        assert np.allclose(found, (each.mean(axis=0) + farthest(each, axis=0)) / 2, atol=1e-5)


def test_channels_come_to_lie_around_zero_where_that_costs_nothing(tmp_path):
    feeds, model = texts(), layer()
    before = bounds(layer(), tmp_path / "before", feeds)
    smooth(model, before)
    after = bounds(model, tmp_path / "after", feeds)
    assert len(after) == 2
    for low, high in after.values():
        assert np.allclose(low, -high, rtol=0.02, atol=1e-3 * np.abs(high).max())
    low, high = before["normed"]
    assert np.abs(low + high).max() > 0.5 * np.abs(high - low).mean()  # they did not before


def test_without_a_bias_to_take_it_back_nothing_is_shifted(tmp_path):
    model = layer(bias=False)
    assert [site.shifts for site in sites(model.graph).values()] == [True, False]


def test_a_weight_that_another_node_reads_is_left_to_it(tmp_path):
    feeds = texts()

    def shared():
        model = layer()
        norm = model.graph[0]
        twin = ir.node("LayerNormalization", norm.inputs, dict(norm.attributes), name="twin")
        twin.outputs[0].name, twin.outputs[0].type = "twin", norm.outputs[0].type
        model.graph.insert_after(norm, twin)
        model.graph.outputs.append(twin.outputs[0])
        return model

    model = shared()
    session_inputs = [feeds[0]]
    exact = answers(model, session_inputs)
    smooth(model, bounds(layer(), tmp_path, feeds))
    assert np.allclose(answers(model, session_inputs), exact, rtol=1e-4, atol=1e-4)


def test_the_recipe_says_that_smoothing_changed_no_answer(tmp_path):
    component_files.save({"model": layer()}, tmp_path / "fp32")
    made = make(RECIPE, Start(tmp_path / "fp32", {"model": texts()}), tmp_path / "made")
    (check,) = made.checks
    assert check.passed
    assert 0 <= check.measured < 1e-5


def test_smoothing_that_changes_an_answer_is_seen(tmp_path, monkeypatch):
    def wrong(model, found, **options):
        count = smooth(model, found, **options)
        bias = model.graph.initializers["out.bias"]
        bias.const_value = ir.tensor(bias.const_value.numpy() * np.float32(1.01), name=bias.name)
        return count

    monkeypatch.setattr("edgekit.stages.start.smooth", wrong)
    component_files.save({"model": layer()}, tmp_path / "fp32")
    (check,) = make(RECIPE, Start(tmp_path / "fp32", {"model": texts()}), tmp_path / "made").checks
    assert not check.passed
