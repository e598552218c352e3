"""Which products stay in float: those that do most harm to the answers for what they cost, within a share of all."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages import component_files
from edgekit.stages.sensitivity import harms, most_harmful

from .tiny_graph import answers, inputs, relative_error, tiny_graph

WIDTH = 64


def measured(model, folder, batches=None):
    component_files.save({"model": model}, folder / "fp32")
    return harms(folder / "fp32", "model", batches or [{"x": inputs()}], folder / "work")


def rounded(x):
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale


def test_harm_is_what_rounding_one_input_does_to_the_answers(tmp_path):
    found = measured(tiny_graph(), tmp_path)
    exact = answers(tiny_graph(), inputs())
    off = answers(tiny_graph(), rounded(inputs()).astype(np.float32))
    assert found["up"] == pytest.approx(relative_error(off, exact) ** 2, rel=0.05)
    assert found["down"] > found["up"]  # the outlier is before it


def two_branches():
    """``y = x near + (x far) / 1000``: both products round alike, and one of them does not matter."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.1, (WIDTH, WIDTH)).astype(np.float32) for name in ("near", "far")}
    weights["small"] = np.float32(1e-3)
    nodes = [
        helper.make_node("MatMul", ["x", "near"], ["a"]),
        helper.make_node("MatMul", ["x", "far"], ["b"]),
        helper.make_node("Mul", ["b", "small"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    shape = ["n", WIDTH]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def test_a_product_whose_error_the_answer_does_not_show_does_no_harm(tmp_path):
    found = measured(two_branches(), tmp_path)
    assert found["far"] < 1e-5 * found["near"]


def test_harm_adds_up_over_inputs(tmp_path):
    one, two = inputs(20, seed=1), inputs(20, seed=2)
    both = measured(tiny_graph(), tmp_path / "both", [{"x": one}, {"x": two}])
    apart = [measured(tiny_graph(), tmp_path / str(number), [{"x": x}]) for number, x in enumerate((one, two))]
    assert both["up"] == pytest.approx(sum(found["up"] for found in apart))


@given(
    products=st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 10**6)), min_size=1, max_size=30),
    share=st.floats(0, 1),
)
def test_a_share_is_kept_to_and_nothing_that_fits_is_left(products, share):
    harm = {str(number): value for number, (value, _) in enumerate(products)}
    sizes = {str(number): size for number, (_, size) in enumerate(products)}
    spared = most_harmful(harm, sizes, share)
    budget, spent = share * sum(sizes.values()), sum(sizes[name] for name in spared)
    assert len(spared) == 1 or spent <= budget * (1 + 1e-9)
    assert len(set(spared)) == len(spared)
    worst = max(harm[name] / sizes[name] for name in harm)
    assert harm[spared[0]] / sizes[spared[0]] == worst
    left = [name for name in harm if name not in spared]
    assert all(spent + sizes[name] > budget * (1 - 1e-9) for name in left)
