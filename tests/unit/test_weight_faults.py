"""The weight check sees single faults in a shipped file that answers alone would hide."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import ExportError
from edgekit.stages import component_files
from edgekit.stages.ladder import LADDER
from edgekit.stages.products import constant
from edgekit.stages.recipes import make
from edgekit.stages.start import Start
from edgekit.stages.weights import compare_weights

from .tiny_graph import inputs, tiny_graph

SMOOTHED = next(recipe for recipe in LADDER if recipe.name == "int8-dynamic+smooth")
BLOCKS = next(recipe for recipe in LADDER if recipe.name == "int8-blockwise")


@pytest.fixture
def made(tmp_path):
    fp32 = tmp_path / "fp32"
    component_files.save({"model": tiny_graph()}, fp32)
    start = Start(fp32, {"model": [{"x": inputs()}]})
    return {recipe: (make(recipe, start, tmp_path / recipe.variant_name), tmp_path) for recipe in (SMOOTHED, BLOCKS)}


def compare(made, recipe):
    """The report of a recipe's files, held against what they were made from."""
    how, folder = made[recipe]
    return compare_weights(folder / recipe.variant_name, how.start.folder, how.moments)


def plant(folder, name, change):
    model = component_files.load_one(folder, "model")
    value = model.graph.initializers[name]
    array = change(constant(value).copy())
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=name)
    component_files.save({"model": model}, folder)


def one_row_negated(array):
    array[3] = -array[3]
    return array


def one_scale_off(array):
    array.flat[2] *= 1.01
    return array


@pytest.mark.parametrize(
    ("recipe", "name", "change"),
    [
        (SMOOTHED, "up.scale", lambda scale: scale * np.float32(1.01)),
        (SMOOTHED, "up.scale", one_scale_off),
        (SMOOTHED, "up.int8", one_row_negated),
        (SMOOTHED, "up.int8", lambda integers: integers + np.int8(1)),
        (SMOOTHED, "x.smoothing_scale", one_scale_off),
        (SMOOTHED, "down.scale", lambda scale: scale * np.float32("nan")),
        (SMOOTHED, "down.scale", lambda scale: scale * 0),
        (SMOOTHED, "gain", one_scale_off),
        (BLOCKS, "up.block_scale", one_scale_off),
        (BLOCKS, "up.blocks", lambda blocks: blocks + np.uint8(1)),
    ],
)
def test_a_planted_fault_fails_the_check(made, recipe, name, change):
    assert all(check.passed for check in compare(made, recipe).checks(saturating_target=True))
    plant(made[recipe][1] / recipe.variant_name, name, change)
    assert not all(check.passed for check in compare(made, recipe).checks(saturating_target=True))


def test_full_range_int8_fails_where_products_saturate_and_only_there(made):
    def full_range(integers):
        return np.where(integers < 0, -127, 127).astype(np.int8)

    plant(made[SMOOTHED][1] / SMOOTHED.variant_name, "up.int8", full_range)
    report = compare(made, SMOOTHED)
    assert report.saturates
    assert [check.name for check in report.checks(saturating_target=False)][-1] != "int8 pair sum"
    assert not report.checks(saturating_target=True)[-1].passed


def test_a_missing_scale_is_named(made):
    folder = made[BLOCKS][1] / BLOCKS.variant_name
    model = component_files.load_one(folder, "model")
    model.graph.initializers["up.block_scale"].name = "elsewhere"
    component_files.save({"model": model}, folder)
    with pytest.raises(ExportError, match=r"up\.block_scale"):
        compare(made, BLOCKS)
