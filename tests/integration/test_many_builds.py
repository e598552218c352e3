"""Builds that share what was kept of the original, and a real matrix: byte for byte the bundles of plain exports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.matrix import keys
from edgekit.pipeline import BuildRequest, build, keep_original
from edgekit.spec.progress import Silent
from edgekit.stages import original, package

from . import generating
from .checkpoints import write_tiny_checkpoint

TARGETS = ("x86_64-avx2", "arm64-neon")
TEXTS = "".join(f"This is line {number} of a text that somebody wrote about {number * 7}.\n" for number in range(30))
EDGEKIT = (sys.executable, "-m", "edgekit")


@pytest.fixture
def texts(tmp_path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text(TEXTS)
    return path


def content(bundle: Path) -> dict[str, bytes]:
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def request(checkpoint: Path, output: Path, data: Path, **more) -> BuildRequest:
    more = {"recipe": "int8-blockwise", "allow_unproven": True} | more
    return BuildRequest(str(checkpoint), TARGETS, output, data=data, **more)


def test_a_build_from_what_was_kept_is_the_same_bundle_and_exports_nothing(
    tiny_checkpoint, texts, tmp_path, monkeypatch
):
    build(request(tiny_checkpoint, tmp_path / "plain", texts), Silent())
    (tmp_path / "kept").mkdir()
    keep_original(request(tiny_checkpoint, tmp_path / "never", texts, recipe=None), tmp_path / "kept", Silent())
    assert not (tmp_path / "never").exists()

    def export(part):
        raise AssertionError("it was exported already")

    monkeypatch.setattr("edgekit.stages.export.export", export)
    build(request(tiny_checkpoint, tmp_path / "shared", texts, original=tmp_path / "kept"), Silent())
    assert content(tmp_path / "shared") == content(tmp_path / "plain")


def test_kept_answers_are_those_that_were_given(tmp_path):
    import numpy as np

    answers = [
        {"logits": np.arange(6, dtype=np.float32).reshape(2, 3), "end.logits": np.array([], np.float32)},
        {"logits": np.float32([[np.nan, -0.0, 1e-40]]), "end.logits": np.ones((1, 1), np.float32)},
    ] * 6
    original.write(tmp_path, {}, answers)
    found = original.read_answers(tmp_path)
    assert [list(answer) for answer in found] == [["logits", "end.logits"]] * 12
    for given, read in zip(answers, found, strict=True):
        for name, array in given.items():
            assert read[name].dtype == array.dtype
            assert read[name].tobytes() == array.tobytes()


@pytest.mark.long
@pytest.mark.parametrize("arch", ["llama", "t5"])
def test_a_model_of_several_components_too(arch, texts, tmp_path):
    generating.write_checkpoint(arch, tmp_path / arch)
    plain = request(tmp_path / arch, tmp_path / "plain", texts, recipe="fp32")
    build(plain, Silent())
    (tmp_path / "kept").mkdir()
    keep_original(plain, tmp_path / "kept", Silent())
    build(request(tmp_path / arch, tmp_path / "shared", texts, recipe="fp32", original=tmp_path / "kept"), Silent())
    assert content(tmp_path / "shared") == content(tmp_path / "plain")


@pytest.mark.long
def test_a_matrix_makes_the_bundles_of_plain_exports_and_a_second_one_makes_none(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    for name, layers in (("one", 1), ("two", 2)):
        write_tiny_checkpoint(tmp_path / name, layers=layers)
    (tmp_path / "matrix.toml").write_text(
        """
        recipes = ["int8-blockwise", "int4-blockwise"]
        models = { one = { allow_unproven = true, data = "texts.txt" }, two = { data = "texts.txt" } }
        targets = { both = { targets = ["x86_64-avx2", "arm64-neon"] } }
        """
    )
    command = [*EDGEKIT, "matrix", tmp_path / "matrix.toml", "-o", tmp_path / "out", "--json"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(first.stdout)
    assert {cell["cell"]: cell["verdict"] for cell in found["cells"]} == {
        "one/both/int8-blockwise": "unproven",
        "one/both/int4-blockwise": "usage",  # of models that generate
        "two/both/int8-blockwise": "inconclusive",
        "two/both/int4-blockwise": "inconclusive",
    }
    assert first.returncode == found["exit_code"] == 2
    build(request(tmp_path / "one", tmp_path / "plain", texts), Silent())
    made = tmp_path / "out" / "one" / "both" / "int8-blockwise"
    assert content(made) == content(tmp_path / "plain")
    assert (tmp_path / "out" / "two" / "both" / "int8-blockwise.evidence" / "parity.json").is_file()
    second = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert [cell["cached"] for cell in second["cells"]] == [True, False, True, True]


def test_every_library_that_is_written_into_a_bundle_is_part_of_the_key():
    assert set(package._BUILT_WITH) <= set(keys.tools())
    assert all(keys.tools()[name] != "missing" for name in package._BUILT_WITH)
