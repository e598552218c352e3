import pytest
from onnx import TensorProto, helper

from edgekit.errors import IntegrityError
from edgekit.runtime.graph_nodes import count_nodes

from .tiny_model import model_bytes


def test_operators_are_counted_by_domain():
    extra = [
        helper.make_node("Mul", ["last_hidden_state", "two"], ["more"]),
        helper.make_node("Gelu", ["more"], ["most"], domain="com.microsoft"),
    ]
    assert count_nodes(model_bytes(extra_nodes=extra)) == {
        "ai.onnx.Mul": 3,
        "ai.onnx.Gather": 1,
        "ai.onnx.Cast": 1,
        "ai.onnx.Unsqueeze": 1,
        "com.microsoft.Gelu": 1,
    }


def test_nodes_of_inner_graphs_and_functions_count():
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "branch", [], [value])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([choice], "g", [], [value])
    opset = [helper.make_opsetid("", 21)]
    function = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Abs", ["a"], ["b"])], opset)
    model = helper.make_model(graph, opset_imports=opset, functions=[function])
    assert count_nodes(model.SerializeToString()) == {"ai.onnx.If": 1, "ai.onnx.Exp": 2, "ai.onnx.Abs": 1}


@pytest.mark.parametrize("data", [b"\x3a\x05ab", b"\xff" * 12])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(IntegrityError, match="ONNX model"):
        count_nodes(data)
