"""Kept trials: found again only for what they were made from, whole or not at all."""

import dataclasses
import json

import pytest

from edgekit.errors import OutputError
from edgekit.spec.parity import Check, Interval, Parity
from edgekit.stages.evidence import Trial
from edgekit.stages.kept_trials import FILES, RECORD, KeptTrials

from .tiny_bundle import tiny_variant

FACTS = ("0.1.0", "a float graph's digest")
RECIPE = "Recipe(name='int8-dynamic')"
PLAIN = dataclasses.replace(tiny_variant("int8"), parity="unproven", self_test_min=-1.0, runs_anywhere=False)
JUDGED = dataclasses.replace(PLAIN, parity="pass", self_test_min=0.9931, runs_anywhere=True)
PARITY = Parity(
    "pass",
    "every check holds",
    (
        Check("agreement", 0.93, 0.9, passed=True, interval=Interval(0.95, 0.93, 0.963, 800)),
        Check("changed constants", 0.0, 0.0, passed=True),
    ),
)
TRIAL = Trial(PLAIN.recipe, "int8", "int8", PLAIN.targets, "36 products int8", 12, PARITY)
CONTENT = {"model.onnx": b"graph", "model.onnx.data": b"weights"}


@pytest.fixture
def kept(tmp_path):
    """One trial, kept; the files that it was kept from are gone, as after an interruption."""
    files = tmp_path / "work" / "int8"
    files.mkdir(parents=True)
    for name, data in CONTENT.items():
        (files / name).write_bytes(data)
    trials = KeptTrials(tmp_path / "out.search", FACTS)
    trials.keep(RECIPE, PLAIN, JUDGED, TRIAL, files)
    for name in CONTENT:
        (files / name).unlink()
    files.rmdir()
    return trials


def only_place(tmp_path):
    (place,) = (tmp_path / "out.search").iterdir()
    return place


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_kept_trial_is_found_with_its_verdict_and_files(kept, tmp_path):
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") == (JUDGED, TRIAL)
    assert content(tmp_path / "found") == CONTENT


def test_it_is_found_by_another_process_and_more_than_once(kept, tmp_path):
    for folder in ("a", "b"):
        again = KeptTrials(tmp_path / "out.search", iter(FACTS))
        assert again.find(RECIPE, PLAIN, tmp_path / folder) == (JUDGED, TRIAL)
        assert content(tmp_path / folder) == CONTENT


def test_a_recipe_that_did_not_fit_is_found_without_files(tmp_path):
    trials = KeptTrials(tmp_path / "out.search", FACTS)
    failed = dataclasses.replace(TRIAL, changed="", size_bytes=0, parity=Parity("fail", "nothing to quantize", ()))
    trials.keep(RECIPE, PLAIN, PLAIN, failed, tmp_path / "never made")
    variant, trial = trials.find(RECIPE, PLAIN, tmp_path / "found")
    assert trial == failed
    assert variant == dataclasses.replace(PLAIN, parity="fail")
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("facts", "recipe", "variant"),
    [
        (("0.1.1", FACTS[1]), RECIPE, PLAIN),
        ((FACTS[0], "another graph"), RECIPE, PLAIN),
        ((*FACTS, "one more"), RECIPE, PLAIN),
        (FACTS[:1], RECIPE, PLAIN),
        (FACTS, "Recipe(name='int8-dynamic', smooth=True)", PLAIN),
        (FACTS, RECIPE, dataclasses.replace(PLAIN, targets=("x86_64-avx2",))),
        (FACTS, RECIPE, dataclasses.replace(PLAIN, name="int8-cuda")),
    ],
    ids=["version", "graph", "more facts", "fewer facts", "recipe", "targets", "variant"],
)
def test_one_of_anything_else_is_not_found(kept, tmp_path, facts, recipe, variant):
    others = KeptTrials(tmp_path / "out.search", facts)
    assert others.find(recipe, variant, tmp_path / "found") is None
    assert not (tmp_path / "found").exists()


def test_nothing_is_found_where_nothing_was_kept(tmp_path):
    assert KeptTrials(tmp_path / "out.search", FACTS).find(RECIPE, PLAIN, tmp_path / "found") is None
    assert not (tmp_path / "out.search").exists()


@pytest.mark.parametrize(
    "record",
    [b"", b'{"precision": "int8", "chan', b"[]", b"{}", b"\xff\xfe", b'{"precision": 8}'],
    ids=["empty", "torn", "list", "foreign", "no text", "another type"],
)
def test_a_torn_or_foreign_record_is_made_again(kept, tmp_path, record):
    (only_place(tmp_path) / RECORD).write_bytes(record)
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") is None


@pytest.mark.parametrize("key", ["precision", "changed", "size_bytes", "parity", "self_test_min", "files"])
def test_a_record_that_lacks_anything_is_made_again(kept, tmp_path, key):
    path = only_place(tmp_path) / RECORD
    document = json.loads(path.read_text())
    del document[key]
    path.write_text(json.dumps(document))
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") is None


@pytest.mark.parametrize("fault", ["changed", "torn", "missing", "added"])
def test_files_that_are_not_those_that_were_judged_are_made_again(kept, tmp_path, fault):
    files = only_place(tmp_path) / FILES
    if fault == "changed":
        (files / "model.onnx").write_bytes(b"grapH")
    elif fault == "torn":
        (files / "model.onnx.data").write_bytes(b"weig")
    elif fault == "missing":
        (files / "model.onnx.data").unlink()
    else:
        (files / "more").write_bytes(b"")
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") is None
    assert not (tmp_path / "found").exists()


def test_a_partial_folder_is_not_taken_and_does_not_stand_in_the_way(kept, tmp_path):
    place = only_place(tmp_path)
    place.rename(place.with_name(f"{place.name}.partial"))
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") is None
    files = tmp_path / "work" / "int8"
    files.mkdir()
    (files / "model.onnx").write_bytes(b"new graph")
    kept.keep(RECIPE, PLAIN, JUDGED, TRIAL, files)
    assert kept.find(RECIPE, PLAIN, tmp_path / "found") == (JUDGED, TRIAL)
    assert content(tmp_path / "found") == {"model.onnx": b"new graph"}
    assert only_place(tmp_path) == place


def test_remove_takes_all_of_them_those_of_earlier_searches_too(kept, tmp_path):
    KeptTrials(tmp_path / "out.search", ("older",)).keep(RECIPE, PLAIN, JUDGED, TRIAL, tmp_path / "no files")
    (tmp_path / "out.search" / f"int8-{'0' * 16}.partial").mkdir()
    kept.remove()
    assert not (tmp_path / "out.search").exists()
    kept.remove()


def test_remove_leaves_what_it_did_not_make(kept, tmp_path):
    for name in ("model", "notes-2026"):
        (tmp_path / "out.search" / name).mkdir()
    (tmp_path / "out.search" / "edgekit.json").write_text("{}")
    kept.remove()
    assert {path.name for path in (tmp_path / "out.search").iterdir()} == {"model", "notes-2026", "edgekit.json"}


def test_a_folder_that_cannot_be_written_is_an_output_error_with_a_hint(tmp_path):
    (tmp_path / "out.search").write_text("a file is in the way")
    trials = KeptTrials(tmp_path / "out.search", FACTS)
    assert trials.find(RECIPE, PLAIN, tmp_path / "found") is None
    with pytest.raises(OutputError, match=r"out\.search.*cannot be kept") as failure:
        trials.keep(RECIPE, PLAIN, JUDGED, TRIAL, tmp_path)
    assert failure.value.hint
    trials.remove()
    assert (tmp_path / "out.search").read_text() == "a file is in the way"


def test_files_that_cannot_be_copied_back_are_an_output_error(kept, tmp_path):
    (tmp_path / "found").write_text("a file is in the way")
    with pytest.raises(OutputError, match="cannot be copied"):
        kept.find(RECIPE, PLAIN, tmp_path / "found")
