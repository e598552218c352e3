"""``edgekit check`` from the command line to the files: every planted fault ends in its own exit code."""

import dataclasses
import json
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from onnx import helper

from edgekit.checks import census, child, footprint, latency
from edgekit.checks import check as checking
from edgekit.cli import main
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Source
from edgekit.spec.parity import Interval

from .checked_bundle import COSINE, NORMS, evidence, write_checked_bundle
from .test_check_latency import Machine
from .tiny_model import FOLDER, TABLE, expected, model_bytes, plain_variant, tiny_settings


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return write_checked_bundle(tmp_path_factory.mktemp("old") / "old")


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """What is asked of fresh processes is asked here, which is quicker; test_check_processes.py starts them."""
    for module in (census, footprint):
        monkeypatch.setattr(module, "ask_once", lambda request: child._opened(request)(request))


@pytest.fixture
def check(old, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(new, *arguments, baseline=old, timed=False):
        words = ["check", str(new), "--baseline", str(baseline), *map(str, arguments)]
        code = main(words if timed else [*words, "--no-latency"])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def document(check):
    def run(new, *arguments, **options):
        code, out, _ = check(new, "--json", *arguments, **options)
        found = json.loads(out)
        assert found["exit_code"] == code
        return found

    return run


def wrong(found):
    return {(one["group"], one["outcome"]) for one in found["findings"] if one["outcome"] not in ("pass", "note")}


def test_a_bundle_is_as_good_as_itself(check, document, old):
    assert document(old)["verdict"] == "pass"
    code, out, _ = check(old)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines() if "✓" in line] == [
        ["✓", group]
        for group in ("integrity", "compatibility", "model", "recipe", "parity", "answers", "size", "graph", "memory")
    ]
    assert "pass" in out.splitlines()[-1]


def test_a_damaged_baseline_exits_7_and_nothing_else_is_looked_at(document, old, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(old, damaged)
    (damaged / FOLDER / "model.onnx.data").write_bytes(TABLE.tobytes()[:-1] + b"?")
    found = document(old, baseline=damaged)
    assert found["exit_code"] == 7
    assert {one["group"] for one in found["findings"]} == {"integrity"}
    assert "sha256" in found["findings"][1]["detail"]


def test_a_bigger_file_exits_6_unless_it_is_meant(document, tmp_path):
    words = {"text/notes.txt": b"x" * 2000}
    new = write_checked_bundle(tmp_path / "new", files=words)
    found = document(new)
    assert found["exit_code"] == 6
    assert wrong(found) == {("size", "fail")}
    assert any("text/notes.txt +2.0 kB" in one["detail"] for one in found["findings"])
    assert document(new, "--accept", "size")["exit_code"] == 0
    assert document(new, "--size-margin", "1")["exit_code"] == 0


def test_an_added_node_exits_6(document, tmp_path):
    more = helper.make_node("Abs", ["scaled"], ["unused"])
    new = write_checked_bundle(tmp_path / "new", files={f"{FOLDER}/model.onnx": model_bytes(extra_nodes=[more])})
    found = document(new, "--size-margin", "1")
    assert found["exit_code"] == 6
    assert wrong(found) == {("graph", "fail")}
    (graph,) = (one for one in found["findings"] if one["group"] == "graph" and one["outcome"] == "fail")
    assert (graph["old"], graph["new"], graph["detail"]) == ("5", "6", "+1 Abs")


def test_golden_cases_of_another_model_exit_5(document, tmp_path):
    cases = [Golden({"text": "word1"}, {"embedding": -expected("word1")})]
    new = write_checked_bundle(tmp_path / "new", files={"golden/cases.json": write_golden("feature-extraction", cases)})
    found = document(new)
    assert found["exit_code"] == 5
    assert ("answers", "fail") in wrong(found)


def test_another_model_that_agrees_with_itself_exits_5(document, tmp_path):
    table = np.roll(TABLE, 1, axis=0)
    texts = ("word1 word2 word3", "word4")
    cases = []
    for text in texts:
        rows = [2, *(int(word[4:]) + 4 for word in text.split()), 3]
        vector = table[rows].mean(axis=0)
        cases.append(Golden({"text": text}, {"embedding": vector / np.linalg.norm(vector)}))
    new = write_checked_bundle(
        tmp_path / "new",
        files={
            f"{FOLDER}/model.onnx.data": table.tobytes(),
            "golden/cases.json": write_golden("feature-extraction", cases),
        },
    )
    found = document(new)
    assert found["exit_code"] == 5
    outcomes = {one["name"]: one["outcome"] for one in found["findings"] if one["group"] == "answers"}
    assert outcomes == {"plain: own golden cases": "pass", "plain: baseline's": "fail"}


def test_other_weights_exit_5_unless_they_are_meant(document, tmp_path):
    source = Source("tiny", "2", "apache-2.0", "BertModel", "1" * 64)
    new = write_checked_bundle(tmp_path / "new", source=source)
    assert wrong(document(new)) == {("model", "fail")}
    found = document(new, "--accept", "model")
    assert (found["exit_code"], wrong(found)) == (0, {("model", "accepted")})


def two_variants(first, second):
    fast = plain_variant(name="fast", folder="model/fast", recipe="int8-dynamic", precision="int8", targets=first)
    safe = plain_variant(name="safe", folder="model/safe", targets=second)
    files = {
        f"model/{name}/{file}": data
        for name in ("fast", "safe")
        for file, data in (("model.onnx", model_bytes()), ("model.onnx.data", TABLE.tobytes()))
    }
    return {"variants": (fast, safe)}, files


def test_variants_swapped_between_targets_exit_5(document, tmp_path):
    fields, files = two_variants(("x86_64-avx2",), ("arm64-neon",))
    swapped, _ = two_variants(("arm64-neon",), ("x86_64-avx2",))
    old = write_checked_bundle(tmp_path / "old", files=files, **fields)
    new = write_checked_bundle(tmp_path / "new", files=files, document=evidence(fields["variants"]), **swapped)
    found = document(new, baseline=old)
    assert found["exit_code"] == 5
    assert {("recipe", "fail"), ("parity", "fail")} <= wrong(found)
    assert any("its evidence is of another targets" in one["detail"] for one in found["findings"])
    # Evidence made for the swapped targets does not hide it: another recipe serves each.
    again = write_checked_bundle(tmp_path / "again", files=files, **swapped)
    assert ("recipe", "fail") in wrong(document(again, baseline=old))


def test_missing_evidence_exits_9(document, tmp_path):
    found = document(write_checked_bundle(tmp_path / "new", document=False), "--size-margin", "1")
    assert (found["exit_code"], wrong(found)) == (9, {("parity", "inconclusive")})


def test_evidence_of_another_variant_exits_9(document, tmp_path):
    other = evidence((plain_variant(name="other"),))
    assert document(write_checked_bundle(tmp_path / "new", document=other))["exit_code"] == 9


WORSE = dataclasses.replace(COSINE, measured=0.9931, interval=Interval(0.9933, 0.9931, 0.9935, 800))


@pytest.mark.parametrize(
    ("checks", "code", "said"),
    [
        ((WORSE, NORMS), 5, "farther from the original than before"),
        ((dataclasses.replace(COSINE, bound=0.9), NORMS), 5, "the budget was loosened from 0.99 to 0.9"),
        ((COSINE, dataclasses.replace(NORMS, bound=0.5)), 5, "the budget was loosened from 0.02 to 0.5"),
        ((COSINE,), 9, "the new evidence does not tell"),
        ((COSINE, dataclasses.replace(NORMS, measured=0.03, passed=False)), 5, "length deviation 0.0300 against 0.02"),
    ],
)
def test_worse_evidence_is_seen(document, tmp_path, checks, code, said):
    new = write_checked_bundle(tmp_path / "new", document=evidence(checks=checks))
    found = document(new, "--size-margin", "1")
    assert found["exit_code"] == code
    assert any(said in one["detail"] for one in found["findings"])


def test_evidence_of_other_data_is_held_against_its_budgets_alone(document, tmp_path):
    new = write_checked_bundle(tmp_path / "new", document=evidence(checks=(WORSE, NORMS), data="cd" * 32))
    assert document(new, "--size-margin", "1")["exit_code"] == 0


def test_unproven_parity_exits_9(document, tmp_path):
    variant = plain_variant(parity="unproven")
    new = write_checked_bundle(
        tmp_path / "new", document=evidence((variant,), doubts=["30 texts are too few"]), variants=(variant,)
    )
    found = document(new, "--size-margin", "1")
    assert found["exit_code"] == 9
    assert any("30 texts are too few" in one["detail"] for one in found["findings"])


@pytest.mark.parametrize(
    "change",
    [
        {"settings": tiny_settings(embedding=dataclasses.replace(tiny_settings()["embedding"], pooling="cls"))},
        {"variants": (plain_variant(targets=("x86_64-avx2",)),)},
    ],
    ids=["another pooling", "a target less"],
)
def test_what_callers_rely_on_exits_8_or_5(document, tmp_path, change):
    found = document(write_checked_bundle(tmp_path / "new", **change))
    assert ("compatibility", "fail") in wrong(found)
    assert found["exit_code"] in (5, 8)


def test_the_most_severe_failure_gives_the_exit_code(document, tmp_path):
    # Fewer targets (8) and a larger file (6): a device that cannot run it is worse than one that downloads more.
    files = {"text/notes.txt": b"x" * 2000}
    new = write_checked_bundle(tmp_path / "new", files=files, variants=(plain_variant(targets=("x86_64-avx2",)),))
    found = document(new)
    assert {("compatibility", "fail"), ("size", "fail")} <= wrong(found)
    assert (found["exit_code"], found["kind"]) == (8, "host")


@pytest.mark.parametrize(("slower", "code"), [(1.08, 6), (1.0, 0)])
def test_a_slower_bundle_exits_6(document, check, old, monkeypatch, slower, code):
    machine = Machine(4, slower)
    monkeypatch.setattr(latency, "starter", lambda new, old, threads: machine.start)
    monkeypatch.setattr(latency.time, "monotonic", machine.clock)
    monkeypatch.setattr(latency.compare, "__kwdefaults__", {"clock": machine.clock})
    found = document(old, timed=True)
    assert found["exit_code"] == code
    assert set(found["latency"]["measures"]) == {"short", "long"}
    _, out, _ = check(old, timed=True)
    assert "5%; a verdict errs in 1 of 20 runs at most" in out


def test_what_cannot_be_accepted_is_a_usage_error(check, old):
    code, _, err = check(old, "--accept", "latencies")
    assert code == 2
    assert "cannot be accepted" in err


def test_junit_has_a_case_for_each_finding(check, document, tmp_path):
    new = write_checked_bundle(tmp_path / "new", files={"text/notes.txt": b"x" * 2000}, document=False)
    found = document(new, "--junit", tmp_path / "made" / "junit.xml")
    root = ET.parse(tmp_path / "made" / "junit.xml").getroot()  # noqa: S314 - our own
    assert len(root.findall("testsuite/testcase")) == len(found["findings"])
    assert len(root.findall("testsuite/testcase/failure")) == sum(one["outcome"] == "fail" for one in found["findings"])
    (suite,) = root.findall("testsuite[@name='parity']")
    assert (suite.get("errors"), suite.find("testcase/error").get("type")) == ("1", "inconclusive")
    assert root.find("testsuite[@name='size']/testcase/failure").get("type") == "budget"


def test_the_summary_is_added_to_githubs_and_cannot_be_steered_by_names(check, old, tmp_path, monkeypatch):
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    odd = tmp_path / "a|b<i>`"
    shutil.copytree(old, odd)
    code, _, _ = check(odd, "--summary", tmp_path / "own.md")
    assert code == 0
    text = step.read_text()
    assert text == "before\n" + (tmp_path / "own.md").read_text()
    assert "## edgekit check: ✅ pass" in text
    assert "<i>" not in text
    assert all(line.count("|") == 7 for line in text.splitlines() if line.startswith("|"))


def test_a_report_that_cannot_be_written_exits_3(check, old, tmp_path):
    code, _, err = check(old, "--junit", tmp_path)
    assert code == 3
    assert "cannot be written" in err


def test_what_was_proved_elsewhere_is_part_of_the_verdict(old):
    asked = []

    def prove(bundle, targets, progress):
        asked.append((bundle, targets))
        return [checking.Finding("portability", "wasm", "inconclusive", detail="no node here")]

    from edgekit.spec.progress import Silent

    request = checking.CheckRequest(old, old, targets=("wasm",), latency=None)
    report = checking.check(request, Silent(), prove=prove)
    assert asked == [(old, ("wasm",))]
    assert report.exit_code == 9
