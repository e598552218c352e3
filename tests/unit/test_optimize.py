"""Graph rewrites: they match what the exporter writes, change no answer, and leave the rest alone."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages.optimize import drop_attention_guards, optimize, pack_products, transpose_keys_at_once

HEADS, SIZE, WIDTH = 2, 4, 8
LOWEST = float(np.finfo(np.float32).min)


def attention(*, lowest=LOWEST, swapped=("last", "third")):
    """One layer of attention as torch's lowering writes it; ``swapped`` is how the keys' axes come back."""
    random = np.random.default_rng(0)
    constants = {
        **{name: random.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in ("wq", "wk", "wv")},
        **{name: random.normal(size=WIDTH).astype(np.float32) for name in ("bq", "bk", "bv")},
        "split": np.array([0, 0, HEADS, SIZE]),
        "join": np.array([0, 0, WIDTH]),
        "flat": np.array([-1]),
        "minus1": np.array([-1]),
        "minus2": np.array([-2]),
        "begin": np.array([np.iinfo(np.int64).min]),
        "end": np.array([np.iinfo(np.int64).max]),
        "lowest": np.float32(lowest),
        "one": np.float32(1),
        "zero": np.float32(0),
        "axes": np.array([1, 2]),
        "row": np.array([-1]),
    }
    nodes = []

    def add(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    for letter in "qkv":
        add("MatMul", ["x", f"w{letter}"], f"{letter}1")
        add("Add", [f"{letter}1", f"b{letter}"], f"{letter}2")
        add("Reshape", [f"{letter}2", "split"], f"{letter}3")
        add("Transpose", [f"{letter}3"], f"{letter}4", perm=[0, 2, 1, 3])
    add("Shape", ["k4"], "shape")
    add("Slice", ["shape", "minus1", "end"], "last")
    add("Slice", ["shape", "minus2", "minus1"], "third")
    add("Slice", ["shape", "begin", "minus2"], "leading")
    add("Concat", ["flat", "third", "last"], "to3", axis=0)
    add("Reshape", ["k4", "to3"], "k5")
    add("Transpose", ["k5"], "k6", perm=[0, 2, 1])
    add("Concat", ["leading", *swapped], "to4", axis=0)
    add("Reshape", ["k6", "to4"], "k7")
    add("MatMul", ["q4", "k7"], "scores")
    add("Unsqueeze", ["mask", "axes"], "kept")
    add("Sub", ["one", "kept"], "left_out")
    add("Mul", ["left_out", "lowest"], "bias")
    add("Add", ["scores", "bias"], "masked")
    add("Softmax", ["masked"], "weights", axis=-1)
    add("MatMul", ["weights", "v4"], "mixed")
    add("ReduceSum", ["kept", "row"], "total", keepdims=1)
    add("Less", ["total", "one"], "nobody")
    add("Where", ["nobody", "zero", "mixed"], "guarded")
    add("Transpose", ["guarded"], "together", perm=[0, 2, 1, 3])
    add("Reshape", ["together", "join"], "y")
    graph = helper.make_graph(
        nodes,
        "attention",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", "sequence"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", WIDTH])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def answer(model):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(3, 5, WIDTH)).astype(np.float32)
    mask = np.ones((3, 5), np.float32)
    mask[1, 3:] = 0
    return session.run(None, {"x": x, "mask": mask})[0]


def test_every_pass_matches_and_no_answer_changes():
    model = attention()
    exact = answer(model)
    assert optimize(model) == {
        "keys transposed at once": 1,
        "attention guards dropped": 1,
        "products packed": 1,
    }
    assert np.allclose(answer(model), exact, atol=1e-6)
    kinds = [node.op_type for node in model.graph]
    assert "Where" not in kinds
    assert "Slice" not in kinds
    assert kinds.count("MatMul") == 3
    assert kinds.count("Split") == 1


def test_a_second_run_finds_nothing():
    model = attention()
    optimize(model)
    assert set(optimize(model).values()) == {0}


@pytest.mark.parametrize("lowest", [-np.inf, -1e4])
def test_a_guard_against_another_mask_stays(lowest):
    assert drop_attention_guards(attention(lowest=lowest).graph) == 0


def test_a_reshape_that_does_not_swap_the_axes_stays():
    assert transpose_keys_at_once(attention(swapped=("third", "last")).graph) == 0


def test_products_without_a_bias_of_their_own_are_not_packed():
    model = attention()
    adds = [node for node in model.graph if node.op_type == "Add" and node.outputs[0].name in ("q2", "k2")]
    for node in adds:
        node.replace_input_with(1, node.inputs[0])
    assert pack_products(model.graph) == 0
