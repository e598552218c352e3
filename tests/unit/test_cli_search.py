"""What the command line does for a search: what it hands over, what it refuses, what it shows."""

import json
import sys
import types

import pytest

from .shown_bundle import shown_evidence, shown_manifest, write_shown_bundle

REASON = "the fastest that passes, 38.2 ms for 4 golden inputs"
CANDIDATES = [
    ("int8-dynamic", "fail", 0.8483, 22_900_000, None, False, ""),
    ("int8-dynamic+smooth", "pass", 0.9175, 23_100_000, 38.246, True, REASON),
    ("int8-dynamic+smooth+spare", "pass", 0.9174, 31_000_000, 45.0, False, ""),
    ("fp32", "pass", 0.9952, 90_400_000, 101.5, True, ""),
]


def searched_evidence(*, timed=True):
    keys = ("recipe", "verdict", "agreement", "size_bytes", "latency_ms", "pareto", "reason")
    rows = [dict(zip(keys, row, strict=True)) | {"targets": ["x86_64-avx2"]} for row in CANDIDATES]
    for row in rows:
        if row["latency_ms"] is None or not timed:
            del row["latency_ms"]
    return shown_evidence() | {"search": {"objective": "latency", "timed": timed, "candidates": rows}}


@pytest.fixture
def requests(monkeypatch):
    """What the pipeline was asked for; it answers with a bundle that was searched for."""
    module = types.ModuleType("edgekit.pipeline")
    module.BuildRequest = types.SimpleNamespace
    made = []

    def build(request, progress):
        made.append(request)
        return types.SimpleNamespace(bundle=request.output, manifest=shown_manifest(), evidence=searched_evidence())

    module.build = build
    monkeypatch.setitem(sys.modules, "edgekit.pipeline", module)
    return made


def table(out):
    """Lines of the search, blanks folded."""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    return lines[lines.index("Search") :]


def test_objective_and_bounds_are_handed_over(call, requests):
    bounds = ("--budget", "neighbours_min=0.95", "--budget", "norm_ratio_max = 1e-2")
    assert call("export", "minilm", "-t", "all", "--optimize", "size", *bounds)[0] == 0
    assert requests[0].optimize == "size"
    assert requests[0].budget == {"neighbours_min": 0.95, "norm_ratio_max": 0.01}


def test_without_either_there_is_no_search_and_the_budget_is_the_task_s(call, requests):
    call("export", "minilm", "-t", "all")
    assert (requests[0].optimize, requests[0].budget) == (None, {})


@pytest.mark.parametrize(
    "text", ["neighbours_min", "neighbours_min=", "=", "neighbours_min=much", "a=0.9=0.8", "0.95", "a=nan"]
)
def test_a_bound_that_is_no_name_and_number_is_a_usage_error(call, requests, text):
    code, out, err = call("export", "minilm", "-t", "all", "--budget", text)
    assert (code, out) == (2, "")
    assert err.startswith(f"error[usage]: --budget {text}: expected NAME=VALUE")
    assert requests == []


@pytest.mark.parametrize("value", ["-0.1", "2.1", "95", "inf", "-inf"])
def test_a_bound_out_of_range_is_a_usage_error(call, requests, value):
    code, out, err = call("export", "minilm", "-t", "all", "--budget", f"neighbours_min={value}", "--json")
    assert (code, err) == (2, "")
    assert "from 0 to 2" in json.loads(out)["error"]["message"]
    assert requests == []


def test_a_bound_that_is_given_twice_is_a_usage_error(call, requests):
    bounds = ("--budget", "neighbours_min=0.95", "--budget", "neighbours_min=0.5")
    code, _, err = call("export", "minilm", "-t", "all", *bounds)
    assert code == 2
    assert "neighbours_min" in err
    assert "twice" in err
    assert requests == []


def test_an_export_that_searched_ends_with_its_table_and_why(call, requests):
    code, out, _ = call("export", "minilm", "-t", "all", "--optimize", "latency")
    lines = table(out)
    assert code == 0
    assert lines[1] == "recipe parity agreement size ms"
    assert lines[3:7] == [
        "int8-dynamic fail 0.8483 22.9 MB",
        "int8-dynamic+smooth pass 0.9175 23.1 MB 38.2 chosen",
        "int8-dynamic+smooth+spare pass 0.9174 31.0 MB 45.0",
        "fp32 pass 0.9952 90.4 MB 101.5 best of its kind",
    ]
    assert f"chosen {REASON}" in lines
    assert max(len(line) for line in out.splitlines()) <= 80


def test_an_export_as_json_holds_the_search(call, requests):
    _, out, _ = call("export", "minilm", "-t", "all", "--optimize", "latency", "--json")
    assert json.loads(out)["evidence"]["search"] == searched_evidence()["search"]


def test_inspect_shows_the_search_that_a_bundle_tells_of(call, tmp_path):
    write_shown_bundle(tmp_path / "b", searched_evidence(timed=False))
    code, out, _ = call("inspect", tmp_path / "b")
    assert code == 0
    assert "int8-dynamic+smooth pass 0.9175 23.1 MB chosen" in table(out)


def test_candidates_for_other_targets_have_a_table_of_their_own(call, tmp_path):
    evidence = searched_evidence()
    static = evidence["search"]["candidates"][3] | {
        "recipe": "int8-static",
        "targets": ["tensorrt"],
        "reason": "the first",
    }
    evidence["search"]["candidates"].append(static)
    write_shown_bundle(tmp_path / "b", evidence)
    lines = [" ".join(line.split()) for line in call("inspect", tmp_path / "b")[1].splitlines()]
    ours, theirs = lines.index("Search for x86_64-avx2"), lines.index("Search for tensorrt")
    assert "int8-dynamic fail 0.8483 22.9 MB" in lines[ours:theirs]
    assert "int8-static pass 0.9952 90.4 MB 101.5 chosen" in lines[theirs:]
    assert f"chosen int8-dynamic+smooth, {REASON}" in " ".join(lines)
    assert "chosen int8-static, the first" in lines


def test_what_was_expected_of_int8_stands_below_the_candidates(call, tmp_path):
    evidence = searched_evidence()
    evidence["search"]["predicted"] = [{"share": 0.68, "product_gain": 3.1, "gain": 1.85}]
    write_shown_bundle(tmp_path / "b", evidence)
    shown = " ".join(call("inspect", tmp_path / "b")[1].split())
    assert "int8 about 1.9 x as fast as float: products take 68% of the time and are 3.1 x as fast" in shown


def test_a_bundle_without_a_search_shows_none(call, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    assert "Search" not in call("inspect", tmp_path / "b")[1]


def test_a_search_cannot_steer_the_terminal(call, tmp_path):
    evidence = searched_evidence()
    for key in ("recipe", "verdict", "reason"):
        evidence["search"]["candidates"][1][key] = "\x1b[8mhidden"
    write_shown_bundle(tmp_path / "b", evidence)
    assert "\x1b" not in call("inspect", tmp_path / "b")[1]


@pytest.mark.parametrize("key", ["recipe", "targets", "verdict", "agreement", "size_bytes", "pareto", "reason"])
def test_a_broken_search_is_a_typed_error_with_its_key(call, tmp_path, key):
    evidence = searched_evidence()
    del evidence["search"]["candidates"][2][key]
    write_shown_bundle(tmp_path / "b", evidence)
    code, _, err = call("inspect", tmp_path / "b")
    assert code == 3
    assert f"evidence/parity.json: search: candidates[2]: missing key '{key}'" in err
