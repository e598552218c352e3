"""What is taken out of a decoder's graph changes no answer, and is only taken out where it is known."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages.decoder_passes import drop_guards, drop_round_trips, optimize_decoder

HEADS, SIZE = 2, 8
WIDTH = HEADS * SIZE
LOWEST = float(np.finfo(np.float32).min)


def attention(*, lowest=LOWEST, below=1.0, replacement=0.0, back=(0, 0, -1)):
    """(b, s, width) -> grouped attention over itself, guarded, values through heads and back."""
    constants = {
        "heads": np.array([0, 0, HEADS, SIZE], np.int64),
        "back": np.array(back, np.int64),
        "split": np.array([0, 0, HEADS, -1], np.int64),
        "joined": np.array([-1, 5, WIDTH], np.int64),
        "lowest": np.array(lowest, np.float32),
        "below": np.array(below, np.float32),
        "zero": np.array(replacement, np.float32),
        "last": np.array([-1], np.int64),
        "seqlens": np.array([4, 4], np.int32),
        "total": np.array(5, np.int32),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "heads"], ["by_head"]),
        helper.make_node("Reshape", ["by_head", "back"], ["v"]),
        helper.make_node("Not", ["seen"], ["hidden"]),
        helper.make_node("Cast", ["hidden"], ["hidden_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["hidden_float", "lowest"], ["bias"]),
        helper.make_node("Cast", ["seen"], ["seen_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["seen_float", "last"], ["counts"], keepdims=1),
        helper.make_node("Less", ["counts", "below"], ["none"]),
        helper.make_node("Transpose", ["none"], ["none_by_row"], perm=[0, 2, 1, 3]),
        helper.make_node(
            "GroupQueryAttention",
            ["x", "x", "v", "", "", "seqlens", "total", "", "", "", "bias"],
            ["attended", "key", "value"],
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=HEADS,
        ),
        helper.make_node("Reshape", ["attended", "split"], ["attended_by_head"]),
        helper.make_node("Where", ["none_by_row", "zero", "attended_by_head"], ["guarded"]),
        helper.make_node("Reshape", ["guarded", "joined"], ["y"]),
        helper.make_node("Neg", ["y"], ["out"]),
    ]
    known = {"by_head": ["b", "s", HEADS, SIZE], "v": ["b", "s", WIDTH], "y": ["b", "s", WIDTH]}
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", WIDTH]),
            helper.make_tensor_value_info("seen", TensorProto.BOOL, ["b", 1, "s", "s"]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["b", "s", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
        value_info=[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in known.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def answers(model, first):
    """Of two rows, the first of which begins at ``first``."""
    x = np.random.default_rng(0).normal(size=(2, 5, WIDTH)).astype(np.float32)
    seen = np.tril(np.ones((5, 5), bool))[None, None].repeat(2, axis=0)
    seen[0, :, :, :first] = False
    proto: onnx.ModelProto = ir.to_proto(model)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "seen": seen})[0]


@pytest.mark.parametrize("first", [0, 2])
def test_rows_that_count_answer_alike_in_fewer_nodes(first):
    before, model = attention(), attention()
    assert optimize_decoder(model) == {"grouped attention guards dropped": 1, "round trips through heads dropped": 1}
    kinds = [node.op_type for node in model.graph]
    assert "Where" not in kinds
    assert "Reshape" not in kinds
    expected, found = answers(before, first), answers(model, first)
    assert np.isfinite(found).all()
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0, first:], expected[0, first:])


@pytest.mark.parametrize(
    "other",
    [{"lowest": -np.inf}, {"lowest": -1e4}, {"below": 2.0}, {"replacement": 1.0}],
    ids=["minus infinity", "a mask that a score may exceed", "another condition", "another replacement"],
)
def test_another_guard_stays(other):
    model = attention(**other)
    assert drop_guards(model.graph) == 0
    assert "Where" in [node.op_type for node in model.graph]


@pytest.mark.parametrize("back", [(0, -1, WIDTH), (-1, 5, WIDTH)])
def test_a_reshape_to_another_form_stays(back):
    assert drop_round_trips(attention(back=back).graph) == 0


def test_a_round_trip_of_unknown_sizes_stays():
    model = attention()
    by_head = next(node for node in model.graph if node.op_type == "Reshape").outputs[0]
    by_head.shape = None
    assert drop_round_trips(model.graph) == 0
