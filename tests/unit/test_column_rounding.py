"""int8 columns rounded by what they do to outputs, and channels that leave the int8 product."""

import dataclasses

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.stages import component_files
from edgekit.stages.column_rounding import round_columns
from edgekit.stages.ladder import LADDER
from edgekit.stages.outliers import CHANNELS, split_outliers
from edgekit.stages.products import OUTLIERS, constant, products
from edgekit.stages.quantize import PAIR_LIMIT, column_scales, pair_sums, symmetric
from edgekit.stages.recipes import make
from edgekit.stages.rounding import damped, output_errors
from edgekit.stages.start import Start
from edgekit.stages.weights import compare_weights

WIDTH, OUTPUTS, ROWS = 64, 24, 400
RECIPE = next(recipe for recipe in LADDER if recipe.name == "int8-dynamic+smooth")


def activations(outliers=True):
    """Correlated channels, four of them a hundred times larger than the rest."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 8)) @ random.normal(size=(8, WIDTH)) + 0.3 * random.normal(size=(ROWS, WIDTH))
    if outliers:
        x[:, [3, 17, 40, 41]] *= 100
    return x.astype(np.float32)


def weight():
    matrix = np.random.default_rng(1).normal(size=(WIDTH, OUTPUTS))
    matrix[[3, 17, 40, 41]] *= 0.1
    return matrix.astype(np.float32)


def graph():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["y"]),
    ]
    made = helper.make_graph(
        nodes,
        "one product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", OUTPUTS])],
        [
            numpy_helper.from_array(weight(), "w"),
            numpy_helper.from_array(np.linspace(-1, 1, OUTPUTS, dtype=np.float32), "b"),
        ],
    )
    return ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def answer(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x[None]})[0][0]


def test_rounded_columns_leave_less_error_than_the_nearest_and_never_saturate():
    x, matrix = activations(outliers=False), weight()
    moment = damped(x.T @ x / ROWS)
    nearest, scale = symmetric(matrix, column_scales(matrix))
    rounded = round_columns(matrix, nearest, scale, moment)
    rows = np.ascontiguousarray(matrix.T)
    plain = output_errors(rows, (nearest * scale).T, moment)
    found = output_errors(rows, rounded.values(), moment)
    assert (found <= plain * (1 + 1e-6)).all()
    assert found.sum() < 0.7 * plain.sum()
    assert pair_sums(rounded.integers.T).max() <= PAIR_LIMIT
    assert (rounded.scales > 0).all()


def test_a_pair_that_would_saturate_is_held_back():
    """Weights that all sit at the limit, and inputs that call for more: the second of a pair gives way."""
    x = activations(outliers=False)
    matrix = np.tile(np.float32(1), (WIDTH, OUTPUTS)) * np.linspace(0.98, 1, WIDTH, dtype=np.float32)[:, None]
    nearest, scale = symmetric(matrix, column_scales(matrix))
    rounded = round_columns(matrix, nearest, scale * np.float32(0.97), damped(x.T @ x / ROWS))
    assert pair_sums(rounded.integers.T).max() <= PAIR_LIMIT


def test_inputs_that_no_weight_reads_are_left_at_zero():
    x, matrix = activations(outliers=False), weight()
    matrix[5] = x[:, 5] = 0
    nearest, scale = symmetric(matrix, column_scales(matrix))
    rounded = round_columns(matrix, nearest, scale, damped(x.T @ x / ROWS))
    assert not rounded.integers[:, 5].any()


def test_outliers_leave_the_product_and_no_answer_changes(tmp_path):
    x = activations()
    model = graph()
    component_files.save({"model": model}, tmp_path / "before")
    assert split_outliers(model, {"x": (x.min(axis=0), x.max(axis=0))}) == 1
    component_files.save({"model": model}, tmp_path / "after")
    assert [value.name for value in model.graph.outputs] == ["y"]
    places = constant(model.graph.initializers["w.channels"])
    assert {3, 17, 40, 41} <= set(places)
    assert len(places) == CHANNELS
    assert not constant(model.graph.initializers["w"])[places].any()
    assert [product.name for product in products(model.graph)] == ["w"]
    found, exact = (answer(tmp_path / name / "model.onnx", x) for name in ("after", "before"))
    assert np.allclose(found, exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bounds", [{}, {"x": (-np.ones(WIDTH, np.float32), np.ones(WIDTH, np.float32))}])
def test_a_product_without_outliers_stays_whole(bounds):
    model = graph()
    assert split_outliers(model, bounds) == 0
    assert OUTLIERS not in "".join(model.graph.initializers)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    component_files.save({"model": graph()}, folder / "fp32")
    feeds = [{"x": part[None]} for part in np.split(activations(), 20)]
    start = Start(folder / "fp32", {"model": feeds})
    make(dataclasses.replace(RECIPE, calibrated=False), start, folder / "nearest")
    return folder, make(RECIPE, start, folder / "calibrated")


def test_the_recipe_is_closer_than_smoothing_alone(made):
    folder, how = made
    assert how.changed == "1 products with outliers in float, 1 products smoothed, 1 products int8"
    x = activations()
    exact = answer(folder / "fp32" / "model.onnx", x)
    error = {
        name: np.square(answer(folder / name / "model.onnx", x) - exact).sum() for name in ("calibrated", "nearest")
    }
    assert error["calibrated"] < 0.3 * error["nearest"]


def test_healthy_columns_pass_the_weight_check(made):
    folder, how = made
    report = compare_weights(folder / "calibrated", how.start.folder, how.moments)
    checks = (*how.checks, *report.checks(saturating_target=True))
    assert {check.name for check in checks if not check.passed} == set()
    assert report.rounding.weights == 1


def row_negated(array):
    array[7] = -array[7]
    return array


def rows_swapped(array):
    array[[7, 9]] = array[[9, 7]]
    return array


def one_off(array):
    array.flat[1] *= np.float32(1.01)
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("w.int8", row_negated),
        ("w.int8", rows_swapped),
        ("w.scale", one_off),
        ("w.scale", lambda scale: scale * np.float32(0.99)),
        ("w.scale", lambda scale: scale * np.float32("nan")),
        ("w.outliers", one_off),
        ("w.outliers", lambda rows: rows[::-1]),
        ("w.channels", lambda places: places[::-1]),
        ("w.channels", lambda places: places * 0),
        ("w.channels", lambda places: places + 1000),
        ("b", one_off),
    ],
)
def test_a_planted_fault_is_seen(made, tmp_path, name, change):
    folder, how = made
    model = component_files.load_one(folder / "calibrated", "model")
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.ascontiguousarray(change(constant(value).copy())), name=name)
    component_files.save({"model": model}, tmp_path / "planted")
    checks = compare_weights(tmp_path / "planted", how.start.folder, how.moments).checks(saturating_target=True)
    assert not all(check.passed for check in checks)
