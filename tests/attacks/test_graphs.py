"""A bundle whose digests are right and whose graph or tokenizer is not: one typed error, in little time and memory."""

import json

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.runtime.trying import try_out

from ..unit.tiny_model import FOLDER, VOCABULARY, tokenizer_json, write_tiny_model  # noqa: TID252 - tests are no installed package
from .graphs import (
    bad_golden_cases,
    bad_graphs,
    bad_scales,
    bad_tokenizers,
    bombs,
    endless,
    growing,
    not_a_number,
    slow_tokenizer,
)
from .sandbox import VERIFY, hold, outcomes

REFUSED = ("IntegrityError", "HostError")


def written(contents, path, tmp_path):
    """A bundle for each content of one of its files, by name."""
    return {
        name: write_tiny_model(tmp_path / f"{number:03}", files={path: content})
        for number, (name, content) in enumerate(contents.items())
    }


@pytest.mark.parametrize(
    ("contents", "path"),
    [(bad_graphs, f"{FOLDER}/model.onnx"), (bad_tokenizers, "text/tokenizer.json")],
    ids=["graphs", "tokenizers"],
)
def test_what_cannot_be_opened_is_refused(contents, path, tmp_path):
    bundles = list(written(contents(), path, tmp_path).values())
    # Their bytes are what is listed, so that to open or to hash them finds nothing.
    hold(bundles, tmp_path, errors=REFUSED, exit_codes=(7, 8), unread=("accepted",))


@pytest.mark.parametrize("command", [VERIFY, ("run", "--json", "{}", "word1")], ids=["verify", "run"])
def test_a_graph_that_computes_something_enormous_ends_in_an_error(command, tmp_path):
    bundles = written(bombs(), f"{FOLDER}/model.onnx", tmp_path)
    found = outcomes(list(bundles.values()), tmp_path, command)
    for name, bundle in bundles.items():
        outcome = found[str(bundle)]
        # Whether the optimizer tries it at once or the first call does is ONNX Runtime's choice.
        assert outcome["load"] in (*REFUSED, "accepted"), (name, outcome)
        assert outcome["exit_code"] in (7, 8), (name, outcome)
        assert not outcome["traceback"], name


def test_verifying_what_never_ends_ends(tmp_path):
    bundles = written(endless(), f"{FOLDER}/model.onnx", tmp_path)
    found = outcomes(list(bundles.values()), tmp_path, ("verify", "--json", "--time-limit", "3", "--", "{}"))
    for name, bundle in bundles.items():
        outcome = found[str(bundle)]
        assert (outcome["verify"], outcome["load"]) == ("accepted", "accepted"), (name, outcome)
        assert outcome["exit_code"] == 8, (name, outcome)
        assert not outcome["traceback"], name
        assert json.loads(outcome["said"])["error"]["message"] == "the self-test took over 3 s", (name, outcome)


def test_a_regex_of_exponential_time_ends(tmp_path):
    bundle = write_tiny_model(tmp_path / "bundle", files=slow_tokenizer())
    (found,) = outcomes([bundle], tmp_path).values()
    assert (found["load"], found["exit_code"]) == ("accepted", 7), found
    assert "the tokenizer failed" in found["said"]  # Oniguruma gives up by itself


def test_verifying_what_fills_the_memory_ends(tmp_path):
    # Under the child's own limit, which is not so narrow as that of these tests.
    bundle = write_tiny_model(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": growing()})
    opened = Bundle.open(bundle)
    with pytest.raises(HostError, match=r"^(onnxruntime|the self-test) "):
        try_out(opened, opened.manifest.variants[0], memory_limit_bytes=512 << 20)


@pytest.mark.parametrize(
    ("contents", "path"),
    [(not_a_number, f"{FOLDER}/model.onnx.data"), (bad_scales, f"{FOLDER}/model.onnx")],
    ids=["weights", "scales"],
)
def test_numbers_that_are_none_do_not_pass_the_golden_cases(contents, path, tmp_path):
    bundles = written(contents(), path, tmp_path)
    found = outcomes(list(bundles.values()), tmp_path)
    for name, bundle in bundles.items():
        assert found[str(bundle)]["exit_code"] == 5, name


def test_a_tokenizer_whose_ids_lie_outside_the_table_is_a_typed_error(tmp_path):
    shifted = (*VOCABULARY[:4], *(f"filler{number}" for number in range(100)), *VOCABULARY[4:])
    bundle = write_tiny_model(tmp_path / "bundle", files={"text/tokenizer.json": tokenizer_json(shifted)})
    (verified,) = outcomes([bundle], tmp_path).values()
    assert verified["exit_code"] == 7, verified
    assert "does not take its own golden cases: onnxruntime refused the input" in verified["said"]
    (asked,) = outcomes([bundle], tmp_path, ("run", "--json", "{}", "word1")).values()
    assert (asked["exit_code"], asked["traceback"]) == (3, False), asked


def test_golden_cases_that_prove_nothing_are_refused(tmp_path):
    bundles = written(bad_golden_cases(), "golden/cases.json", tmp_path)
    found = outcomes(list(bundles.values()), tmp_path)
    for name, bundle in bundles.items():
        outcome = found[str(bundle)]
        assert (outcome["exit_code"], outcome["traceback"]) == (7, False), (name, outcome)
