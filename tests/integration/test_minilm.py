"""The main job on the real all-MiniLM-L6-v2: what is built, what it answers, and what is said about it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from edgekit import catalog
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError
from edgekit.runtime import load
from edgekit.runtime.golden import Golden
from edgekit.stages.data import CALIBRATION_ROWS, JUDGED_ROWS
from edgekit.stages.ladder import FP32
from edgekit.stages.quiet import quiet

from .checkpoints import minilm_folder
from .real_build import judge_draft, open_draft

pytestmark = pytest.mark.export

TEXTS = (
    "The film was dreadful.",
    "",
    " \n\t ",
    "I hated that movie.",
    "The film was developed in a darkroom. " * 80,  # some 700 tokens; the model looks at 256
    "naïve café — 東京 🦊 Ünïcödé Straße",
    "x",
    "Return the sum of a 'start' value (default: 0) plus an iterable of numbers.",
    "a\u0000b\u200dc",
)


@pytest.fixture(scope="module")
def original():
    """The model as its authors load it, without any of edgekit's code."""
    with quiet():
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(minilm_folder()), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def expected(original):
    return original.encode(list(TEXTS), convert_to_numpy=True, show_progress_bar=False)


@pytest.fixture(scope="module")
def loaded(minilm):
    with load(minilm.bundle) as model:
        yield model


def cosines(left, right):
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_shipped_variant_answers_like_the_original(loaded, expected):
    vectors = loaded.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == expected.shape == (len(TEXTS), 384)
    assert cosines(vectors, expected).min() >= 0.97  # the empty text; the mean is what has a budget
    assert cosines(vectors, expected).mean() >= 0.99
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_float_variant_answers_as_the_original_does(minilm, expected, tmp_path):
    with open_draft(minilm.contents, FP32, minilm.fp32, tmp_path / "draft") as model:
        assert np.abs(model.embed(TEXTS) - expected).max() < 1e-4
        assert np.abs(model.embed(TEXTS, batch_size=1) - expected).max() < 1e-4


def test_float_variant_passes_its_own_budget(minilm, tmp_path):
    parity = judge_draft(minilm.contents, FP32, minilm.fp32, tmp_path / "draft")
    assert parity.verdict == "pass", parity.reason


def test_text_beyond_256_tokens_is_truncated(loaded):
    long = "The film was developed in a darkroom. " * 80
    assert loaded.max_length == 256
    assert np.array_equal(loaded.embed(long), loaded.embed(long + "It ends otherwise."))
    assert not np.allclose(loaded.embed(long), loaded.embed("It starts otherwise. " + long), atol=1e-3)


def test_answers_do_not_depend_on_order_or_batch(loaded):
    vectors = loaded.embed(TEXTS, batch_size=4)
    backwards = loaded.embed(TEXTS[::-1], batch_size=3)[::-1]
    alone = np.stack([loaded.embed(text) for text in TEXTS])
    assert cosines(vectors, backwards).min() >= 0.98
    assert cosines(vectors, alone).min() >= 0.98


def test_self_test_passes(loaded):
    test = loaded.self_test()
    assert test.passed
    assert test.cases == 8
    assert 0.9 < test.bound <= test.worst


def test_self_test_fails_where_another_model_answers(minilm, tmp_path):
    # The golden answers are those to other texts.
    golden = minilm.contents.golden
    swapped = [Golden(one.input, other.expected) for one, other in zip(golden, golden[::-1], strict=True)]
    contents = dataclasses.replace(minilm.contents, golden=swapped)
    with open_draft(contents, FP32, minilm.fp32, tmp_path / "swapped") as model:
        assert model.self_test().worst < minilm.shipped.self_test_min
    with open_draft(minilm.contents, FP32, minilm.fp32, tmp_path / "healthy") as model:
        assert model.self_test().worst >= minilm.shipped.self_test_min


def test_fresh_process_opens_the_bundle_without_the_build_side(minilm):
    script = (
        "import json, sys\n"
        "from edgekit.runtime import load\n"
        "with load(sys.argv[1]) as model:\n"
        "    vectors = model.embed(['The film was dreadful.', 'I hated that movie.', 'The film was developed.'])\n"
        "    print(json.dumps([sorted(sys.modules), vectors.shape, (vectors @ vectors.T).tolist()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(minilm.bundle)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    modules, shape, similarity = json.loads(done.stdout)
    assert shape == [3, 384]
    assert similarity[0][1] > similarity[0][2]  # meaning, not words
    build_side = {"torch", "transformers", "onnx", "onnx_ir", "optimum", "sentence_transformers", "huggingface_hub"}
    assert not build_side & {name.partition(".")[0] for name in modules}


def test_onnxruntime_opens_it_as_a_model_package(minilm, loaded):
    context = onnxruntime.ModelPackageContext(str(minilm.bundle))
    assert list(context.get_component_names()) == ["model"]
    names = list(context.get_variant_names("model"))
    assert names == [variant.name for variant in minilm.result.manifest.variants]
    options = onnxruntime.ModelPackageOptions(onnxruntime.SessionOptions())
    component = context.select_component("model", options)
    assert component.get_selected_variant_name() in names
    session = component.create_session()
    ids = loaded._text.encode(["The film was dreadful."])
    feeds = loaded._text.batch(ids, minilm.result.manifest.components["model"].inputs)
    (states,) = session.run(None, feeds)
    vector = states[0].mean(axis=0)
    assert vector / np.linalg.norm(vector) == pytest.approx(loaded.embed("The film was dreadful."), abs=1e-4)


def test_every_shipped_variant_passed_its_budget(minilm):
    manifest, evidence = minilm.result.manifest, minilm.result.evidence
    assert [variant["name"] for variant in evidence["variants"]] == [variant.name for variant in manifest.variants]
    for variant, stored in zip(evidence["variants"], manifest.variants, strict=True):
        parity = variant["parity"]
        checks = {check["name"]: check for check in parity["checks"]}
        assert parity["verdict"] == stored.parity == "pass"
        assert checks["nearest-neighbour agreement"]["interval"]["low"] >= 0.90
        assert checks["mean cosine"]["interval"]["low"] >= 0.99
        assert all(check["passed"] for check in parity["checks"])


def test_plain_int8_was_tried_and_left(minilm):
    (left,) = [trial for trial in minilm.result.evidence["tried"] if trial["recipe"] == "int8-dynamic"]
    assert left["verdict"] == "fail"
    assert "nearest-neighbour agreement" in left["reason"]
    assert any(not check["passed"] for check in left["checks"])


def test_bundle_serves_every_cpu_target(minilm):
    manifest = Bundle.open(minilm.bundle).manifest
    assert {"x86_64-avx512-vnni", "x86_64-avx2", "arm64-i8mm", "arm64-neon", "wasm-simd"} < set(manifest.targets)
    assert set(manifest.targets) == set(catalog.expand_targets([catalog.ALL]))
    served = [name for variant in manifest.variants for name in variant.targets]
    assert sorted(served) == sorted(manifest.targets)


def test_evidence_in_the_bundle_is_what_build_returned(minilm):
    evidence = json.loads((minilm.bundle / "evidence/parity.json").read_bytes())
    assert evidence == json.loads(json.dumps(minilm.result.evidence))
    assert (evidence["data"]["judged"], evidence["data"]["calibrated"]) == (JUDGED_ROWS, CALIBRATION_ROWS)
    assert evidence["judged_on"]["cpu"]
    for variant in evidence["variants"]:
        size = sum(path.stat().st_size for path in (minilm.bundle / "model" / variant["name"]).iterdir())
        assert variant["size_bytes"] == size
        assert any(target["runs_here"] for target in variant["targets"])
        assert any(not target["runs_here"] for target in variant["targets"])  # no CPU is both x86-64 and arm64


def test_model_card_says_what_the_evidence_says(minilm):
    evidence = json.loads((minilm.bundle / "evidence/parity.json").read_bytes())
    card = (minilm.bundle / "MODEL_CARD.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (-?[\d.]+) \| .+ \| (?:holds|fails) \|$", card, re.MULTILINE))
    (variant,) = evidence["variants"]
    assert rows == {check["name"]: f"{check['measured']:.4f}" for check in variant["parity"]["checks"]}
    for left in evidence["tried"]:
        assert f"{left['recipe']}: {left['verdict']}, {left['reason']}" in card
    (not_run,) = re.findall(r"^The judging machine is none of (.+): not run there yet\.$", card, re.MULTILINE)
    for target in variant["targets"]:
        assert target["runs_here"] or target["name"] in not_run
    assert f"{evidence['data']['judged']} inputs" in card
    assert evidence["judged_on"]["cpu"] in card


def test_bundle_verifies_until_a_byte_is_flipped(minilm, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(minilm.bundle, copy)
    Bundle.open(copy).verify()
    weights = copy / "model" / minilm.shipped.name / "model.onnx.data"
    with weights.open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)[0]
        stream.seek(1_000_000)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(IntegrityError, match=r"model\.onnx\.data: sha256"):
        Bundle.open(copy).verify()
    with pytest.raises(IntegrityError, match=r"model\.onnx\.data: sha256"):
        load(copy)


def test_nothing_is_left_beside_the_bundle(minilm):
    left = {path.name for path in minilm.bundle.parent.iterdir()}
    assert left == {"bundle", "work"}  # the latter is kept by these tests
