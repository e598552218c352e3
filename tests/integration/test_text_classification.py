"""Sequence classifiers: built from tiny random checkpoints, they answer as transformers' pipeline does."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgekit import catalog
from edgekit.cli import main
from edgekit.errors import DataError, InconclusiveError, UsageError
from edgekit.pipeline import BuildRequest, build
from edgekit.runtime import load, pipeline
from edgekit.spec.progress import Silent
from edgekit.stages.data import builtin_texts
from edgekit.stages.quiet import quiet

from ..unit.tiny_model import write_tiny_model  # noqa: TID252 - tests are no installed package
from .checkpoints import minilm_folder

pytestmark = [pytest.mark.export, pytest.mark.usefixtures("known_exports")]

MAX_LENGTH = 64
TEXTS = ["The film was dreadful.", "I would see it again, and again.", "", "naïve café — 東京 🦊", "x"]
LONG = "The film was developed in a darkroom. " * 40  # some 350 tokens; the models look at 64
LABELS = ("anger", "joy", "neutral")
KINDS = {
    "bert": ("bert", {}),
    "distilbert": ("distilbert", {}),
    "several labels": ("bert", {"problem_type": "multi_label_classification"}),
    "regression": ("bert", {"problem_type": "regression"}),
}
SMALL = {
    "bert": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_LENGTH,
    },
    "distilbert": {
        "dim": 32,
        "n_layers": 1,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": MAX_LENGTH,
    },
}


def write_classifier(folder: Path, kind: str) -> Path:
    """What save_pretrained writes for a random classifier."""
    model_type, problem = KINDS[kind]
    labels = ("score",) if kind == "regression" else LABELS
    with quiet():
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(minilm_folder(), model_max_length=MAX_LENGTH)
        config = AutoConfig.for_model(
            model_type,
            vocab_size=len(tokenizer),
            initializer_range=0.4,  # at the usual 0.02 a random model answers nearly the same to every text
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            **SMALL[model_type],
            **problem,
        )
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for vector in (parameter for parameter in model.parameters() if parameter.ndim == 1):
                vector.add_(0.01 * torch.randn_like(vector))  # as training does: the labels alone are to be doubted
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Checkpoint and bundle of a kind, made when first asked for."""

    @cache
    def make(kind):
        folder = tmp_path_factory.mktemp("classifier")
        checkpoint = write_classifier(folder / "tiny", kind)
        (folder / "texts.txt").write_text("\n".join(row["text"] for row in builtin_texts().judged[:30]), "utf-8")
        request = BuildRequest(
            str(checkpoint),
            catalog.expand_targets([catalog.ALL]),
            folder / "bundle",
            data=folder / "texts.txt",
            recipe="fp32",
            allow_unproven=True,
        )
        return checkpoint, build(request, Silent()).bundle

    return make


@pytest.fixture(
    scope="session",
    params=["bert", pytest.param("distilbert", marks=pytest.mark.long), "several labels", "regression"],
)
def classifier(request, built):
    """A kind's name, its checkpoint and its bundle."""
    return (request.param, *built(request.param))


@pytest.fixture(scope="session")
def bert(built):
    """Checkpoint and bundle of the one that answers with one label of three."""
    return built("bert")


@cache
def original(checkpoint):
    with quiet():
        from transformers import pipeline as transformers_pipeline

        return transformers_pipeline("text-classification", str(checkpoint), device="cpu")


def assert_same(found, expected):
    """The same nesting, order and labels; scores within 1e-4."""
    if isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found.keys() == expected.keys() == {"label", "score"}
        assert found["label"] == expected["label"]
        assert isinstance(found["score"], float)
        assert found["score"] == pytest.approx(expected["score"], abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 2},
        {"top_k": 99},
        {"top_k": None},
        {"function_to_apply": "sigmoid"},
        {"function_to_apply": "softmax", "top_k": None},
        {"function_to_apply": "none", "top_k": None},
    ],
    ids=str,
)
def test_answers_are_those_of_the_transformers_pipeline(classifier, options):
    _, checkpoint, bundle = classifier
    theirs = original(checkpoint)
    with load(bundle) as ours:
        for inputs in (TEXTS, TEXTS[:1], TEXTS[0], ""):
            assert_same(ours(inputs, **options), theirs(inputs, **options))
        # The pipeline fails on a long text unless it is told to truncate; a bundle always does.
        for inputs in (LONG, [LONG, "x"]):
            assert_same(ours(inputs, **options), theirs(inputs, truncation=True, **options))
        assert_same(ours(TEXTS, batch_size=3, **options), theirs(TEXTS, **options))


def test_raw_answers_are_named_for_what_the_scores_mean(classifier):
    kind, _, bundle = classifier
    with load(bundle) as model:
        (raw,) = model.raw([{"text": "x"}])
        assert model.self_test().passed
    name, size = {"regression": ("value", 1), "several labels": ("flags", 3)}.get(kind, ("logits", 3))
    assert {key: array.shape for key, array in raw.items()} == {name: (size,)}


def test_pipeline_opens_the_bundle_for_its_task_only(bert):
    checkpoint, bundle = bert
    for task in ("sentiment-analysis", "text-classification"):
        with pipeline(task, bundle) as model:
            assert_same(model(TEXTS), original(checkpoint)(TEXTS))
    with pytest.raises(UsageError, match="one for text-classification, and cannot be used for feature-extraction"):
        pipeline("feature-extraction", bundle)


def test_bundle_of_another_task_is_refused(tmp_path):
    with pytest.raises(UsageError, match="one for feature-extraction, and cannot be used for text-classification"):
        pipeline("sentiment-analysis", write_tiny_model(tmp_path / "bundle"))


def test_run_takes_the_options_of_the_task(bert, capsys):
    checkpoint, bundle = bert
    expected = original(checkpoint)(TEXTS[:2], top_k=2)
    assert main(["run", str(bundle), *TEXTS[:2], "--set", "top_k=2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert_same(document["answers"], expected)
    assert main(["run", str(bundle), TEXTS[0], "--set", "top_k=2"]) == 0
    shown = capsys.readouterr()
    for answer in expected[0]:
        assert answer["label"] in shown.out + shown.err
        assert f"{answer['score']:.4f}" in shown.out + shown.err
    assert main(["run", str(bundle), TEXTS[0], "--set", "topk=2"]) == UsageError.exit_code
    assert "top_k" in capsys.readouterr().err


def labelled(path: Path, labels) -> Path:
    rows = [{"text": row["text"], "label": label} for row, label in zip(builtin_texts().judged, labels, strict=False)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def test_labels_at_random_prove_nothing(bert, tmp_path, capsys):
    random = np.random.default_rng(0)
    rows = labelled(tmp_path / "rows.jsonl", random.choice(LABELS, 160).tolist())
    command = ["export", str(bert[0]), "-t", "x86_64-avx2", "--data", str(rows), "-o", str(tmp_path / "bundle")]
    assert main([*command, "--json"]) == InconclusiveError.exit_code == 9
    assert "chance level" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.evidence", "rows.jsonl"]
    evidence = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())
    assert evidence["data"]["labelled"] == evidence["data"]["judged"] == 128
    assert ["chance level" in doubt for doubt in evidence["doubts"]] == [True]


def test_labels_of_the_original_itself_are_no_doubt(bert, tmp_path):
    checkpoint, _ = bert
    texts = [row["text"] for row in builtin_texts().judged[:160]]
    right = [answer["label"] for answer in original(checkpoint)(texts, truncation=True)]
    assert len(set(right)) > 1
    rows = labelled(tmp_path / "rows.jsonl", right)
    request = BuildRequest(str(checkpoint), ("x86_64-avx2",), tmp_path / "bundle", data=rows, recipe="fp32")
    (variant,) = build(request, Silent()).evidence["variants"]
    assert variant["parity"]["verdict"] == "pass"
    checks = {check["name"]: check for check in variant["parity"]["checks"]}
    assert checks["accuracy lost"]["measured"] == pytest.approx(0, abs=1e-3)


def test_unknown_label_is_refused_with_the_nearest(bert, tmp_path):
    rows = labelled(tmp_path / "rows.jsonl", ["anger", "joyy"] * 80)
    request = BuildRequest(str(bert[0]), ("x86_64-avx2",), tmp_path / "bundle", data=rows)
    with pytest.raises(DataError, match="label 'joyy' is none of the model's") as caught:
        build(request, Silent())
    assert "'joy'" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
