"""``edgekit run`` on an embedding bundle: for its own task, and for labels scored by its embeddings."""

import json

import pytest

from edgekit.cli import main
from edgekit.cli.asking import _cell
from edgekit.runtime import pipeline

from .tiny_model import write_tiny_model


@pytest.fixture
def bundle(tmp_path):
    return str(write_tiny_model(tmp_path / "bundle"))


def test_labels_are_scored_by_embeddings(bundle, capsys):
    flags = ("--task", "zero-shot-classification", "--set", 'candidate_labels=["word2", "word3"]')
    assert main(["run", bundle, "word1 word5", *flags, "--json"]) == 0
    with pipeline("zero-shot-classification", bundle) as model:
        expected = model("word1 word5", ["word2", "word3"])
    assert json.loads(capsys.readouterr().out)["answers"] == [expected]
    assert main(["run", bundle, "word1 word5", *flags]) == 0
    shown = capsys.readouterr().out.split()
    assert [shown[shown.index(label) + 1] for label in expected["labels"]] == [f"{x:.4f}" for x in expected["scores"]]


def test_a_task_the_bundle_is_not_for_is_a_usage_error(bundle, capsys):
    assert main(["run", bundle, "word1", "--task", "fill-mask"]) == 2
    assert "one for feature-extraction, and cannot be used for fill-mask" in capsys.readouterr().err


def test_an_option_for_embeddings_is_refused_and_not_dropped(bundle, capsys):
    assert main(["run", bundle, "word1", "--set", "candidate_labels=word2"]) == 2
    shown = capsys.readouterr().err
    assert "embeddings have no options" in shown
    assert "--task zero-shot-classification" in shown


def test_features_are_shown_by_shape_and_first_values():
    assert _cell([[1.0, 2.0], [3.0, 4.0]]) == "2 x 2: +1.0000 +2.0000 …"
    assert _cell([0.5]) == "1: +0.5000 …"
    assert _cell(["a", "b"]) == "['a', 'b']"
    assert _cell([]) == "[]"
