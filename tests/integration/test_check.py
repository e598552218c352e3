"""``edgekit check`` on the real MiniLM, with the real clock."""

import json
import shutil

import pytest

from edgekit.cli import main

from .changed_bundles import changed_copy, slower_copy

pytestmark = pytest.mark.export

WIDTH = 832  # of a further feed-forward block: about 8 % of the int8 file's time at 128 tokens


def check(capsys, new, old, *arguments):
    code = main(["check", str(new), "--baseline", str(old), "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    return found


def failed(found):
    return {one["group"] for one in found["findings"] if one["outcome"] == "fail"}


def test_the_bundle_is_as_good_as_itself_in_all_that_is_certain(minilm, capsys):
    found = check(capsys, minilm.bundle, minilm.bundle, "--no-latency")
    assert found["verdict"] == "pass", found["findings"]


def test_a_further_block_is_seen_without_the_clock(minilm, tmp_path, capsys):
    new = slower_copy(minilm.bundle, tmp_path / "new", WIDTH)
    found = check(capsys, new, minilm.bundle, "--no-latency")
    assert found["exit_code"] == 6
    assert failed(found) == {"size", "graph", "memory"}
    assert any("+2 MatMul" in one["detail"] for one in found["findings"])


def test_the_same_files_judged_against_the_original_again_pass(minilm, capsys):
    found = check(capsys, minilm.bundle, minilm.bundle, "--no-latency", "--reference", "minilm")
    assert found["verdict"] == "pass"
    assert any("against the reference" in one["name"] for one in found["findings"])


def test_a_tokenizer_of_another_version_is_seen(minilm, tmp_path, capsys):
    def change(folder):
        (path,) = folder.rglob("tokenizer.json")
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace('"lowercase":true', '"lowercase":false').replace('"lowercase": true', '"lowercase": false')
        )

    found = check(capsys, changed_copy(minilm.bundle, tmp_path / "new", change), minilm.bundle, "--no-latency")
    assert found["exit_code"] == 5
    assert "answers" in failed(found)


@pytest.mark.long
def test_a_bundle_8_percent_slower_is_never_passed_and_an_equal_one_never_failed(minilm, tmp_path, capsys):
    new = slower_copy(minilm.bundle, tmp_path / "new", WIDTH)
    slower = check(capsys, new, minilm.bundle, "--accept", "size", "--accept", "graph", "--accept", "memory")
    assert slower["latency"]["verdict"] != "pass"
    assert slower["latency"]["seconds"] <= 180
    shutil.rmtree(tmp_path / "new")
    equal = check(capsys, minilm.bundle, minilm.bundle)
    assert equal["latency"]["verdict"] != "fail"
