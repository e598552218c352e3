"""Attention as one node: what is fused, that it answers the same with padding, and what is left alone."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages.attention import attentions, fuse_attention
from edgekit.stages.optimize import optimize_for_cpu

HEADS, SIZE, WIDTH = 2, 4, 8
LOWEST = float(np.finfo(np.float32).min)
MASKS = {
    # Only left-out keys: as transformers writes it, by way of indices that mean nothing in the end.
    "padding": [
        ("Cast", ["attention_mask"], "kept", {"to": TensorProto.BOOL}),
        ("Not", ["kept"], "left_out", {}),
        ("Cast", ["left_out"], "number", {"to": TensorProto.FLOAT}),
        ("Mul", ["number", "lowest"], "flat", {}),
        ("Unsqueeze", ["flat", "axes"], "row", {}),
        ("Shape", ["x"], "sizes", {}),
        ("Slice", ["sizes", "from1", "to2"], "length", {}),
        ("Concat", ["one1", "one1", "length", "one1"], "square", {"axis": 0}),
        ("Expand", ["row", "square"], "mask", {}),
    ],
    # The same, but position 2 is never looked at: no padding mask.
    "window": [
        ("Cast", ["attention_mask"], "number", {"to": TensorProto.FLOAT}),
        ("Sub", ["one", "number"], "left_out", {}),
        ("Mul", ["left_out", "lowest"], "flat", {}),
        ("Unsqueeze", ["flat", "axes"], "row", {}),
        ("Add", ["row", "bias"], "mask", {}),
    ],
}
CONSTANTS = {
    "split": np.array([0, 0, HEADS, SIZE]),
    "join": np.array([0, 0, WIDTH]),
    "lowest": np.float32(LOWEST),
    "one": np.float32(1),
    "one1": np.array([1]),
    "from1": np.array([1]),
    "to2": np.array([2]),
    "axes": np.array([1, 2]),
    "scale": np.float32(0.3),
    "two": np.float32(2),
    "bias": np.random.default_rng(5).normal(size=(1, HEADS, 5, 5)).astype(np.float32),
}


def graph(mask=None, *, divide=False, order=(0, 2, 3, 1), shape=None):
    """Self-attention of one input, its mask made in one of the ways above."""
    nodes = [helper.make_node(kind, inputs, [out], **more) for kind, inputs, out, more in MASKS.get(mask, [])]

    def add(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    for letter, perm in (("q", (0, 2, 1, 3)), ("k", order), ("v", (0, 2, 1, 3))):
        add("MatMul", ["x", f"w{letter}"], f"{letter}1")
        add("Reshape", [f"{letter}1", "split"], f"{letter}2")
        add("Transpose", [f"{letter}2"], f"{letter}3", perm=perm)
    add("Mul", ["q3", "scale"], "q4")
    add("MatMul", ["q4", "k3"], "scores0")
    add("Div" if divide else "Mul", ["scores0", "two"], "scores")
    if mask:
        add("Add", ["scores", "mask"], "masked")
    add("Softmax", ["masked" if mask else "scores"], "weights", axis=-1)
    add("MatMul", ["weights", "v3"], "mixed")
    add("Transpose", ["mixed"], "back", perm=[0, 2, 1, 3])
    add("Reshape", ["back", "join"], "y")
    random = np.random.default_rng(0)
    weights = {f"w{letter}": random.normal(size=(WIDTH, WIDTH)).astype(np.float32) for letter in "qkv"}
    made = helper.make_graph(
        nodes,
        "attention",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", WIDTH]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "sequence"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", WIDTH])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (CONSTANTS | weights).items()],
    )
    model = ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    if shape:
        next(value for node in model.graph for value in node.outputs if value.name == "mask").shape = ir.Shape(shape)
    return model


def answer(model):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(3, 5, WIDTH)).astype(np.float32)
    mask = np.ones((3, 5), np.int64)
    mask[1, 3:] = 0
    feeds = {"x": x, "attention_mask": mask}
    return session.run(None, {node.name: feeds[node.name] for node in session.get_inputs()})[0]


def fused_node(model):
    (node,) = [node for node in model.graph if node.op_type == "MultiHeadAttention"]
    return node


@pytest.mark.parametrize("divide", [False, True])
def test_attention_without_a_mask_becomes_one_node(divide):
    model = graph(divide=divide)
    exact = answer(model)
    assert optimize_for_cpu(model) == {"attention fused": 1, "attention left in parts": 0}
    assert [node.op_type for node in model.graph] == ["MatMul"] * 3 + ["MultiHeadAttention"]
    assert np.allclose(answer(model), exact, atol=1e-6)


def padded():
    """A graph whose input of activations is made from ids, so that its mask hangs on inputs of ids alone."""
    model = graph("padding")
    graph_ = model.graph
    x = graph_.inputs[0]
    ids = ir.Value(name="input_ids", shape=ir.Shape(["batch", "sequence"]), type=ir.TensorType(ir.DataType.INT64))
    table = np.random.default_rng(3).normal(size=(9, WIDTH)).astype(np.float32)
    weight = ir.Value(name="table", const_value=ir.tensor(table, name="table"))
    graph_.initializers["table"] = weight
    gather = ir.node("Gather", [weight, ids])
    gather.outputs[0].shape = ir.Shape(["batch", "sequence", WIDTH])
    ir.convenience.replace_all_uses_with(x, gather.outputs[0])
    graph_.insert_before(graph_[0], gather)
    graph_.inputs[0] = ids
    return model


def answer_ids(model):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    mask = np.ones((3, 5), np.int64)
    mask[1, 3:] = 0
    return session.run(None, {"input_ids": np.arange(15).reshape(3, 5) % 9, "attention_mask": mask})[0]


def test_a_mask_that_only_leaves_padding_out_becomes_the_kernels_own():
    model = padded()
    exact = answer_ids(model)
    assert optimize_for_cpu(model)["attention fused"] == 1
    assert [node.op_type for node in model.graph] == ["Cast", "Gather"] + ["MatMul"] * 3 + ["MultiHeadAttention"]
    assert [value is not None for value in fused_node(model).inputs] == [True, True, True, False, True]
    assert np.allclose(answer_ids(model), exact, atol=1e-6)


def test_any_other_mask_is_passed_on_as_it_is():
    model = graph("window", shape=["batch", HEADS, "sequence", "sequence"])
    exact = answer(model)
    assert fuse_attention(model) == 1
    assert [value is not None for value in fused_node(model).inputs] == [True, True, True, False, False, True]
    assert np.allclose(answer(model), exact, atol=1e-6)


@pytest.mark.parametrize("shape", [None, ["batch", 1, 1, "sequence"], ["sequence", "sequence"]])
def test_a_mask_that_the_kernel_does_not_take_is_left_alone(shape):
    model = graph("window", shape=shape)
    assert fuse_attention(model) == 0
    assert attentions(model.graph) == 1


def test_keys_in_another_order_are_left_alone():
    assert fuse_attention(graph(order=(0, 2, 1, 3))) == 0
