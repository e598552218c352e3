"""The passes: what they change, that they change it, and that no input can saturate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import ExportError, UsageError
from edgekit.spec.provider import CPU, PROVIDERS
from edgekit.stages import component_files
from edgekit.stages.blockwise import dequantize, quantize_blocks
from edgekit.stages.ladder import GENERATION_LADDER, LADDER, candidates, check_name, ladder
from edgekit.stages.products import constant
from edgekit.stages.quantize import PAIR_LIMIT, column_scales, pair_sums, quantize_products, symmetric
from edgekit.stages.recipes import make
from edgekit.stages.smooth import smooth
from edgekit.stages.start import Start
from edgekit.stages.weights import compare_weights

from .tiny_graph import answers, inputs, relative_error, tiny_graph


def bounds(model):
    x = inputs()
    wide = x @ constant(model.graph.initializers["up"])
    scaled = np.tanh(wide) * constant(model.graph.initializers["gain"])
    return {"x": (x.min(axis=0), x.max(axis=0)), "scaled": (scaled.min(axis=0), scaled.max(axis=0))}


@settings(max_examples=200)
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), heavy=st.booleans())
def test_no_pair_of_neighbours_can_saturate(rows, seed, heavy):
    random = np.random.default_rng(seed)
    matrix = (random.standard_t(1, (rows, 7)) if heavy else random.normal(size=(rows, 7))).astype(np.float32)
    integers, scale = symmetric(matrix, column_scales(matrix))
    assert pair_sums(integers).max() <= PAIR_LIMIT
    assert np.abs(integers * scale - matrix).max() <= (0.5 + 1e-3) * scale.max()
    products = np.int64(255) * integers
    if rows % 2 == 0:
        assert np.abs(products[::2] + products[1::2]).max() <= 32767


def test_pair_scales_are_finer_than_seven_bits():
    matrix = np.random.default_rng(0).normal(size=(384, 384)).astype(np.float32)
    assert column_scales(matrix).mean() < 0.8 * (np.abs(matrix).max(axis=0) / 64).mean()


def test_quantized_products_answer_like_the_float_ones():
    exact = answers(tiny_graph(), inputs())
    model = tiny_graph()
    assert quantize_products(model) == 2
    kinds = [node.op_type for node in model.graph]
    assert kinds.count("MatMulInteger") == 2
    assert "MatMul" not in kinds
    assert set(model.graph.initializers) >= {"up.int8", "up.scale", "down.int8", "down.scale"}
    assert "up" not in model.graph.initializers
    assert 1e-4 < relative_error(answers(model, inputs()), exact) < 0.1


def test_smoothing_changes_no_answer_and_helps_int8():
    exact = answers(tiny_graph(), inputs())
    smoothed = tiny_graph()
    assert smooth(smoothed, bounds(smoothed)) == 2
    assert relative_error(answers(smoothed, inputs()), exact) < 1e-5
    plain = tiny_graph()
    quantize_products(plain)
    quantize_products(smoothed)
    plain_error = relative_error(answers(plain, inputs()), exact)
    assert relative_error(answers(smoothed, inputs()), exact) < 0.6 * plain_error


def test_spared_products_stay_float():
    model = tiny_graph()
    assert quantize_products(model, spare=["down"]) == 1
    assert [node.op_type for node in model.graph].count("MatMul") == 1


def test_blocks_are_closer_than_columns():
    exact = answers(tiny_graph(), inputs())
    columns, blocks = tiny_graph(), tiny_graph()
    quantize_products(columns)
    assert quantize_blocks(blocks) == 2
    error = relative_error(answers(blocks, inputs()), exact)
    assert error < relative_error(answers(columns, inputs()), exact)
    stored = blocks.graph.initializers
    weight = dequantize(constant(stored["up.blocks"]), constant(stored["up.block_scale"]))
    assert np.allclose(weight, constant(tiny_graph().graph.initializers["up"]), atol=0.005)


def test_what_stays_in_float_is_not_smoothed_either(tmp_path):
    spared = next(recipe for recipe in LADDER if recipe.spare)
    made = make(spared, saved(tmp_path), tmp_path / "made")
    graph = component_files.load_one(tmp_path / "made", "model").graph
    (product,) = [
        node for node in graph if node.op_type == "MatMul" and not (node.name or "").endswith("outliers/MatMul")
    ]
    assert np.array_equal(
        constant(product.inputs[1]), constant(tiny_graph().graph.initializers[product.inputs[1].name])
    )
    assert "1 products spared" in made.changed


def test_a_pass_that_finds_nothing_is_an_error():
    model = tiny_graph()
    quantize_products(model)
    for again in (quantize_products, quantize_blocks, lambda graph: smooth(graph, {})):
        with pytest.raises(ExportError):
            again(model)
    with pytest.raises(ExportError, match="no calibrated range for x"):
        smooth(tiny_graph(), {})


def saved(folder):
    component_files.save({"model": tiny_graph()}, folder / "fp32")
    return Start(folder / "fp32", {"model": [{"x": inputs()}]})


@pytest.mark.parametrize(
    "recipe", [*LADDER, *GENERATION_LADDER], ids=lambda recipe: f"{recipe.name}-{recipe.generates}"
)
def test_every_recipe_writes_weights_that_check_out(recipe, tmp_path):
    made = make(recipe, saved(tmp_path), tmp_path / "made")
    assert made.changed
    report = compare_weights(tmp_path / "made", made.start.folder, made.moments)
    assert all(check.passed for check in (*made.checks, *report.checks(saturating_target=True)))
    assert bool(made.checks) == recipe.smooth
    assert bool(report.quantized) == bool(recipe.products)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        ladder("int8-dynamik")
    assert "int8-dynamic" in caught.value.hint


def test_what_decodes_climbs_another_ladder():
    first = ladder(None, ("prefill", "decode"))[0].generates
    assert first is not None
    assert first.bits == 4
    assert ladder(None, ("model",)) == LADDER == ladder(None)
    assert ladder("int8-blockwise", ("encoder", "prefill", "decode"))[0].generates
    with pytest.raises(UsageError):
        ladder("int8-dynamic", ("prefill", "decode"))


@pytest.mark.parametrize("name", [None, *(recipe.name for recipe in (*LADDER, *GENERATION_LADDER))])
def test_every_recipe_has_a_known_name(name):
    check_name(name)


def test_a_name_that_no_ladder_has_is_refused_early():
    with pytest.raises(UsageError, match="int3-blockwise"):
        check_name("int3-blockwise")


def test_a_search_tries_the_climb_in_its_order_and_more_spared_sets():
    names = [recipe.name for recipe in candidates((), CPU)]
    assert [name for name in names if name in {recipe.name for recipe in LADDER}] == [recipe.name for recipe in LADDER]
    spares = [recipe.spare for recipe in candidates((), CPU) if recipe.spare]
    assert spares == sorted(spares)
    assert len(set(spares)) == len(spares) == 4
    assert len({recipe.variant_name for recipe in candidates((), CPU)}) == len(names)


@pytest.mark.parametrize("components", [(), ("decode",)])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_search_may_choose_can_be_asked_for_by_its_name(components, provider):
    for recipe in candidates(components, provider):
        check_name(recipe.name)
        assert ladder(recipe.name, components, provider) == (recipe,)
