"""Every fault the gate must catch, planted into the real model, and the healthy twin that must pass."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgekit import catalog
from edgekit.cli import main
from edgekit.errors import ExportError, InconclusiveError, ParityError
from edgekit.pipeline import BuildRequest, build
from edgekit.spec.parity import BUDGETS, Parity, judge
from edgekit.spec.progress import Silent
from edgekit.stages import component_files, data, evaluate, quantize, recipes
from edgekit.stages.ladder import FP32, LADDER
from edgekit.stages.products import constant
from edgekit.stages.untrained import untrained
from edgekit.stages.weights import compare_weights

from . import text_checkpoints
from .graph_faults import (
    STRAY,
    change,
    change_product,
    constant_answer,
    flip_row,
    healthy,
    insert_factor,
    plant,
    scaled_by,
    shift_activation_zero_point,
    shift_weight_zero_point,
    shuffled_weights,
    with_nan,
)
from .real_build import failed, judge_draft, open_draft

pytestmark = [pytest.mark.export, pytest.mark.usefixtures("known_exports")]

RECIPES = {recipe.name: recipe for recipe in LADDER}
SMOOTHED = RECIPES["int8-dynamic+smooth"]
SPARED = "int8-dynamic+smooth+spare"  # the pipeline of this model has no need of it: to make it takes half a minute


def long(name):
    """A case that `make test-all` alone runs."""
    return pytest.param(name, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def made(minilm, tmp_path_factory):
    """The files of any recipe: the pipeline's own where it made them, else made here once."""
    folder = tmp_path_factory.mktemp("made")

    def files(name: str) -> Path:
        recipe = RECIPES[name]
        if recipe.variant_name in minilm.files:
            return minilm.files[recipe.variant_name]
        if not (folder / recipe.variant_name).exists():
            recipes.make(recipe, minilm.start, folder / recipe.variant_name)
        return folder / recipe.variant_name

    return files


def judge_weights(files: Path, minilm, recipe: str, *, saturating_target: bool = False) -> Parity:
    """The part of a verdict that comes from the file's numbers alone."""
    report = minilm.report(RECIPES[recipe], files)
    return judge(report.checks(saturating_target=saturating_target), ())


# The checks of a verdict that look at numbers and not at answers.
OF_WEIGHTS = {
    "weight distance in steps",
    "changed constants",
    "output error against nearest rounding",
    "block scales off least squares",
}


# --- what the answers show -----------------------------------------------------------------------


def test_healthy_draft_passes(minilm, made, tmp_path):
    files = plant(healthy, made(SMOOTHED.name), tmp_path / "files")
    checks = minilm.report(SMOOTHED, files).checks(saturating_target=True)
    parity = judge_draft(minilm.contents, SMOOTHED, files, tmp_path / "draft", checks)
    assert parity.verdict == "pass", parity.reason


@pytest.mark.parametrize(
    ("setting", "symptom"),
    [
        ({"pooling": "cls"}, "mean cosine"),
        ({"pooling": "max"}, "mean cosine"),
        ({"normalize": False}, "length deviation"),
    ],
    ids=["pooling cls", "pooling max", "no normalization"],
)
def test_wrong_embedding_settings_fail(minilm, made, tmp_path, setting, symptom):
    reference = minilm.contents.reference
    settings = dataclasses.replace(reference.settings, **setting)
    contents = dataclasses.replace(minilm.contents, reference=dataclasses.replace(reference, settings=settings))
    parity = judge_draft(contents, SMOOTHED, made(SMOOTHED.name), tmp_path / "draft")
    assert parity.verdict == "fail"
    assert symptom in failed(parity)


def test_swapped_tokenizer_fails(minilm, made, tmp_path):
    tokenizer = json.loads(minilm.contents.reference.tokenizer_json)
    vocabulary = tokenizer["model"]["vocab"]
    words = sorted((word for word in vocabulary if not word.startswith("[")), key=vocabulary.get)
    ids = [vocabulary[word] for word in words]
    vocabulary.update(zip(words, ids[1:] + ids[:1], strict=True))  # every word means its neighbour
    reference = dataclasses.replace(minilm.contents.reference, tokenizer_json=json.dumps(tokenizer).encode())
    contents = dataclasses.replace(minilm.contents, reference=reference)
    parity = judge_draft(contents, SMOOTHED, made(SMOOTHED.name), tmp_path / "draft")
    assert parity.verdict == "fail"
    assert {"mean cosine", "nearest-neighbour agreement"} <= failed(parity)


@pytest.mark.parametrize(
    "fault", [shift_activation_zero_point, constant_answer], ids=["zero point of an activation", "constant answers"]
)
def test_fault_inside_the_graph_fails(minilm, made, tmp_path, fault):
    files = plant(fault, made(SMOOTHED.name), tmp_path / "files")
    parity = judge_draft(minilm.contents, SMOOTHED, files, tmp_path / "draft")
    assert parity.verdict == "fail"


def test_shuffled_weights_fail(minilm, tmp_path):
    files = plant(shuffled_weights, minilm.fp32, tmp_path / "files")
    parity = judge_draft(minilm.contents, FP32, files, tmp_path / "draft")
    assert parity.verdict == "fail"
    assert {"mean cosine", "nearest-neighbour agreement"} <= failed(parity)


def test_nan_in_a_weight_fails(minilm, made, tmp_path):
    files = plant(change("encoder.layer.5.output.dense.bias", with_nan), made(SMOOTHED.name), tmp_path / "files")
    parity = judge_draft(minilm.contents, SMOOTHED, files, tmp_path / "draft")
    assert parity.verdict == "fail"
    assert "NaN" in parity.reason


# --- what the file's numbers show, where answers cannot ------------------------------------------


@pytest.mark.parametrize("name", ["int8-dynamic", SMOOTHED.name, long(SPARED), "int8-blockwise", "fp32"])
def test_healthy_weights_pass(minilm, made, tmp_path, name):
    files = plant(healthy, made(name), tmp_path / "files")
    parity = judge_weights(files, minilm, name, saturating_target=True)
    assert parity.verdict == "pass", parity.reason


WEIGHT_FAULTS = {
    "a scale tensor off by 1 %": ("int8-dynamic", change(".scale", scaled_by(1.01))),
    "a scale tensor off by -1 %": ("int8-dynamic", change(".scale", scaled_by(0.99))),
    "one column's scale off by 1 %": ("int8-dynamic", change(".scale", scaled_by(1.01, column=5))),
    "a smoothed weight's scale off by 1 %": ("int8-dynamic+smooth", change(".scale", scaled_by(1.01))),
    "an embedding table's scales off by 1 %": (
        "int8-dynamic+smooth",
        change("word_embeddings.weight.scale", scaled_by(1.01)),
    ),
    "smoothing factors off by 1 %": ("int8-dynamic+smooth", change(".smoothing_scale", scaled_by(1.01))),
    "a smoothing norm's shift off by 1 %": ("int8-dynamic+smooth", change(".smoothing_shift", scaled_by(1.01))),
    "an outlier row off by 1 %": ("int8-dynamic+smooth", change(".outliers", scaled_by(1.01))),
    "block scales off by 1 %": ("int8-blockwise", change(".block_scale", scaled_by(1.01))),
    "a spared weight off by 1 %": (SPARED, change_product(scaled_by(1.01))),
    "a float bias off by 1 %": ("int8-dynamic", change("LayerNorm.bias", scaled_by(1.01))),
    "a float weight off by 0.01 %": ("fp32", change("dense.bias", scaled_by(1.0001))),
    "a flipped row": ("int8-dynamic", change(".int8", flip_row)),
    "a flipped row of a smoothed weight": ("int8-dynamic+smooth", change(".int8", flip_row)),
    "a flipped row of the embedding table": ("int8-dynamic+smooth", change("word_embeddings.weight.int8", flip_row)),
    "a flipped row of positions": ("int8-dynamic", change("position_embeddings.weight", flip_row)),
    "flipped blocks": ("int8-blockwise", change(".blocks", lambda array: 255 - array)),
    "NaN as a scale": ("int8-dynamic", change(".scale", with_nan)),
    "NaN as a weight": ("fp32", change("word_embeddings.weight", with_nan)),
    "a scale of zero": ("int8-dynamic", change(".scale", scaled_by(0, column=5))),
}


@pytest.mark.parametrize("fault", [long(name) if made[0] == SPARED else name for name, made in WEIGHT_FAULTS.items()])
def test_fault_in_the_weights_fails(minilm, made, tmp_path, fault):
    name, planted = WEIGHT_FAULTS[fault]
    files = plant(planted, made(name), tmp_path / "files")
    parity = judge_weights(files, minilm, name)
    assert parity.verdict == "fail"
    assert failed(parity) & OF_WEIGHTS


@pytest.mark.parametrize("fault", [shift_weight_zero_point, insert_factor], ids=["zero point", "factor"])
def test_constant_that_the_original_does_not_have_fails(minilm, made, tmp_path, fault):
    files = plant(fault, made("int8-dynamic"), tmp_path / "files")
    parity = judge_weights(files, minilm, "int8-dynamic")
    assert parity.verdict == "fail"
    assert failed(parity) == {"changed constants"}
    assert STRAY in compare_weights(files, minilm.fp32).changed


def test_float_graph_that_is_not_the_original_is_no_export(minilm, tmp_path):
    def check(files, folder):
        with open_draft(minilm.contents, FP32, files, folder) as model:
            evaluate.check_export(model, minilm.contents.answers)

    check(minilm.fp32, tmp_path / "healthy")
    fault = change("layer.3.output.dense.bias", scaled_by(1.01))
    with pytest.raises(ExportError, match="differs from the original"):
        check(plant(fault, minilm.fp32, tmp_path / "files"), tmp_path / "draft")


def test_pipeline_leaves_a_recipe_whose_file_has_a_fault(minilm, made, tmp_path):
    # Answers alone would let this one through: that is why the file's numbers are in the verdict.
    files = plant(change(".scale", scaled_by(1.01)), made(SMOOTHED.name), tmp_path / "files")
    without = judge_draft(minilm.contents, SMOOTHED, files, tmp_path / "answers only")
    checks = minilm.report(SMOOTHED, files).checks(saturating_target=False)
    both = judge_draft(minilm.contents, SMOOTHED, files, tmp_path / "both", checks)
    assert (without.verdict, both.verdict) == ("pass", "fail")


def test_spared_products_stay_float_and_the_others_are_int8(tiny_checkpoint, tmp_path):
    counts = {}
    for name in (SMOOTHED.name, SPARED):
        request = BuildRequest(
            str(tiny_checkpoint), ("x86_64-avx2",), tmp_path / name, recipe=name, allow_unproven=True
        )
        (variant,) = build(request, Silent()).evidence["variants"]
        counts[name] = int(re.search(r"(\d+) products int8", variant["changed"])[1])
    assert counts[SMOOTHED.name] > counts[SPARED] > 0


# --- saturation ----------------------------------------------------------------------------------


def full_range_scales(matrix):
    return (np.abs(matrix).max(axis=0) / 127).astype(np.float32)


def test_full_range_int8_fails_on_a_saturating_target(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "column_scales", full_range_scales)
    recipes.make(RECIPES["int8-dynamic"], minilm.quick_start(tmp_path), tmp_path / "files")
    report = compare_weights(tmp_path / "files", minilm.fp32)
    assert report.saturates
    assert 128 < report.largest_pair <= 254
    assert judge(report.checks(saturating_target=False), ()).verdict == "pass"  # the numbers are right
    parity = judge(report.checks(saturating_target=True), ())
    assert parity.verdict == "fail"
    assert failed(parity) == {"int8 pair sum"}
    assert any(target.int8_products_saturate for target in catalog.targets().values())


def test_onnxruntimes_own_u8s8_file_is_caught(minilm, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: TID251 - the fault to be caught

    folder = tmp_path / "files"
    folder.mkdir()
    quantize_dynamic(
        minilm.fp32 / component_files.graph_file("model"),
        folder / component_files.graph_file("model"),
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )
    report = compare_weights(folder, minilm.fp32)
    assert report.saturates
    assert "int8 pair sum" in failed(judge(report.checks(saturating_target=True), ()))


def test_pair_sum_bounds_what_a_product_can_add_up_to(minilm, made):
    model = component_files.load_one(made(SMOOTHED.name), "model")
    for node in model.graph:
        if node.op_type == "MatMulInteger":
            weight = constant(node.inputs[1]).astype(np.int64)
            for sign in (1, -1):  # activations of 255 where the weight has this sign, of 0 elsewhere
                same = np.maximum(sign * weight, 0)
                assert (255 * (same[::2] + same[1::2])).max() <= 32767


def overflows(folder, batches):
    """How many sums of two neighbouring products leave 16 bits on real activations, over all products of a file."""
    model = component_files.load_one(folder, "model")
    pairs = [
        (node.inputs[0], constant(node.inputs[1]).astype(np.float32))
        for node in model.graph
        if node.op_type == "MatMulInteger"
    ]
    read = {value.name: value for value, _ in pairs}
    model.graph.outputs[:] = list(read.values())
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    count = 0
    for feeds in batches:
        found = dict(zip(read, session.run(list(read), dict(feeds)), strict=True))
        for value, weight in pairs:
            for row in found[value.name].reshape(-1, len(weight)).astype(np.float32):
                products = row[:, None] * weight
                count += int((np.abs(products[::2] + products[1::2]) > 32767).sum())
    return count


def test_real_activations_overflow_a_full_range_file_and_not_ours(minilm, made, tmp_path, monkeypatch):
    assert overflows(made(SMOOTHED.name), minilm.batches[:1]) == 0
    monkeypatch.setattr(quantize, "column_scales", full_range_scales)
    recipes.make(RECIPES["int8-dynamic"], minilm.quick_start(tmp_path), tmp_path / "files")
    assert overflows(tmp_path / "files", minilm.batches[:1]) > 0


# --- what proves nothing -------------------------------------------------------------------------


def test_random_model_is_unproven(tiny_checkpoint, tmp_path):
    output = tmp_path / "bundle"
    with pytest.raises(InconclusiveError) as caught:
        build(BuildRequest(str(tiny_checkpoint), ("x86_64-avx2",), output), Silent())
    assert caught.value.exit_code == 9
    assert "chance" in caught.value.message
    assert "--data" in caught.value.hint
    assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.evidence"]
    evidence = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())
    assert evidence["variants"] == []
    assert any("chance" in doubt for doubt in evidence["doubts"])


def test_random_classifier_without_labels_is_unproven(tmp_path):
    # Its answers to sentences nobody labelled show nothing; its weights do.
    head = "AutoModelForSequenceClassification"
    checkpoint = text_checkpoints.write(tmp_path / "random", "bert", head, ("a", "b", "c"))
    with pytest.raises(InconclusiveError, match="never trained"):
        build(BuildRequest(str(checkpoint), ("x86_64-avx2",), tmp_path / "bundle"), Silent())
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("trained", [False, True])
def test_training_shows_in_the_norms_and_biases(trained):
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2))
    torch.nn.init.zeros_(module[0].bias)
    torch.nn.init.zeros_(module[2].bias)
    if trained:
        module(torch.randn(4, 8)).square().sum().backward()
        torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert bool(untrained([module])) is not trained


def test_unproven_model_ships_marked_so_when_asked_for(tiny_checkpoint, tmp_path):
    request = BuildRequest(str(tiny_checkpoint), ("x86_64-avx2",), tmp_path / "bundle", allow_unproven=True)
    result = build(request, Silent())
    assert [variant.parity for variant in result.manifest.variants] == ["unproven"]
    assert result.evidence["allow_unproven"] is True
    assert "**Unproven**" in (tmp_path / "bundle/MODEL_CARD.md").read_text("utf-8")


def test_ten_samples_prove_nothing(tiny_checkpoint, tmp_path, capsys):
    texts = tmp_path / "ten.txt"
    texts.write_text("\n".join(row["text"] for row in data.builtin_texts().judged[:10]), "utf-8")
    output = tmp_path / "bundle"
    code = main(["export", str(tiny_checkpoint), "-t", "x86_64-avx2", "--data", str(texts), "-o", str(output)])
    assert code == InconclusiveError.exit_code == 9
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.evidence", "ten.txt"]
    evidence = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())
    # A fifth of the ten is kept for calibration.
    assert evidence["doubts"][-1] == "8 inputs to judge on, 100 are needed to tell"


def test_too_few_samples_are_refused_before_the_export(tiny_checkpoint, tmp_path, monkeypatch):
    texts = tmp_path / "ten.txt"
    texts.write_text("\n".join(row["text"] for row in data.builtin_texts().judged[:10]), "utf-8")
    request = BuildRequest(str(tiny_checkpoint), ("x86_64-avx2",), tmp_path / "bundle", data=texts)

    def export(part):
        raise AssertionError("exported")

    monkeypatch.setattr("edgekit.stages.bench.export.export", export)
    with pytest.raises(InconclusiveError, match="8 inputs to judge on"):
        build(request, Silent())
    with pytest.raises(AssertionError, match="exported"):  # asked for, it is built all the same
        build(dataclasses.replace(request, allow_unproven=True), Silent())


def test_recipe_that_misses_the_budget_leaves_evidence_and_no_bundle(tiny_checkpoint, tmp_path, monkeypatch):
    # Held to a budget nothing can meet, so that the last step of the climb fails too.
    budget = BUDGETS["vectors"]["float32"]
    strict = dataclasses.replace(budget, limits={**budget.limits, "mean_cosine_min": 1.5})
    monkeypatch.setitem(BUDGETS["vectors"], "float32", strict)
    request = BuildRequest(
        str(tiny_checkpoint), ("x86_64-avx2",), tmp_path / "bundle", recipe="fp32", allow_unproven=True
    )
    with pytest.raises(ParityError) as caught:
        build(request, Silent())
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.evidence"]
    (tried,) = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())["tried"]
    assert (tried["recipe"], tried["verdict"]) == ("fp32", "fail")
    assert tried["reason"] in caught.value.message


@pytest.mark.parametrize(
    ("answer", "doubt"),
    [(1.0, "nearly the same to every input"), (np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")],
)
def test_broken_reference_proves_nothing(minilm, answer, doubt):
    broken = dataclasses.replace(minilm.contents.reference, model=Stuck(minilm.contents.reference.model, answer))
    (found,) = evaluate.ask(broken, data.builtin_texts(), samples_min=100).doubts
    assert doubt in found


class Stuck:
    """A SentenceTransformer that always answers the same; its tokenizer is the real one."""

    def __init__(self, model, answer):
        self.tokenizer = model.tokenizer
        self.answer = answer

    def encode(self, texts, **options):
        return np.full((len(texts), 8), self.answer, np.float32)


def test_real_reference_leaves_no_doubt(minilm):
    assert minilm.contents.answers.doubts == ()


def test_ten_answers_of_the_real_model_are_doubted(minilm):
    texts = data.builtin_texts()
    ten = dataclasses.replace(texts, judged=texts.judged[:10])
    (doubt,) = evaluate.ask(minilm.contents.reference, ten, samples_min=100).doubts
    assert doubt == "10 inputs to judge on, 100 are needed to tell"


def test_random_letters_prove_nothing(minilm):
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
    noise = tuple({"text": "".join(random.choice(letters, 60))} for _ in range(120))
    (doubt,) = evaluate.ask(
        minilm.contents.reference, data.Dataset("noise", "0" * 64, (), noise), samples_min=100
    ).doubts
    assert "look random" in doubt
