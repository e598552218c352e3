"""A matrix of played jobs in real processes: the cache, every end that a job can have, going on after an interrupt."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import UsageError
from edgekit.matrix import cells, keys
from edgekit.runtime.session import this_host
from edgekit.stages import fetch

from . import played_jobs
from .matrix_cases import CELLS, LIMITS, ORIGINALS, Case

ROOT = Path(__file__).parents[2]
ONE_CELL = 'models = ["one"]\ntargets = ["arm64-neon"]\nrecipes = ["fp32"]\n'
CELL = "one/arm64-neon/fp32"


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def verdicts(report):
    return {one.cell.spec.name: one.verdict for one in report.cells}


def test_every_cell_has_its_bundle_and_each_model_is_exported_once(case):
    report = case.run()
    assert report.exit_code == 0
    assert verdicts(report) == dict.fromkeys(CELLS, "pass")
    assert [one.cell.spec.name for one in report.cells] == CELLS
    assert played_jobs.done(case.plays) == sorted([*CELLS, *ORIGINALS])
    for name in CELLS:
        Bundle.open(case.output / name).verify()
    assert case.watched.together == 2
    assert {entry["threads"] for entry in played_jobs.log(case.plays)} == {1}
    assert len({entry["pid"] for entry in played_jobs.log(case.plays)}) == len(CELLS) + len(ORIGINALS)
    assert not [path for path in case.cache.iterdir() if path.name.startswith(".")]


def test_a_second_run_does_nothing_and_starts_no_engine(case):
    case.run()
    before, made = case.files(), played_jobs.done(case.plays)

    def start():
        raise AssertionError("nothing is to be done")

    report = case.run(start=start)
    assert all(one.outcome.cached for one in report.cells)
    assert (case.files(), played_jobs.done(case.plays)) == (before, made)
    shutil.rmtree(case.output)
    case.run(start=start)
    assert case.files() == before


def test_a_new_recipe_is_all_that_is_made_of_a_larger_matrix(case):
    case.run(ONE_CELL)
    case.run()
    assert played_jobs.done(case.plays) == sorted([*CELLS, *ORIGINALS])


@pytest.mark.parametrize("what", ["weights", "settings", "budget", "data", "code"])
def test_whatever_a_cell_follows_from_makes_it_again(case, what, monkeypatch):
    case.run(ONE_CELL)
    spec = ONE_CELL
    if what == "weights":
        (case.folder / "one" / "model.safetensors").write_bytes(b"other")
    elif what == "settings":
        (case.folder / "one" / "tokenizer_config.json").write_text("{}")
    elif what == "budget":
        spec = spec.replace('models = ["one"]\n', "") + "[models.one]\nbudget = { neighbours_min = 0.95 }\n"
    elif what == "data":
        (case.folder / "texts.txt").write_text("a\nb\n")
        spec = spec.replace('models = ["one"]\n', "") + '[models.one]\ndata = "texts.txt"\n'
    else:
        monkeypatch.setattr(keys, "_code_digest", lambda: "other")
        keys.tools.cache_clear()
    try:
        report = case.run(spec)
    finally:
        monkeypatch.undo()
        keys.tools.cache_clear()
    assert not report.cells[0].outcome.cached
    again = [CELL] if what == "budget" else [CELL, "one: the original"]
    assert played_jobs.done(case.plays) == sorted([CELL, "one: the original", *again])


def test_another_machine_judges_for_itself():
    place = keys.this_place(this_host())
    other = keys.this_place(dataclasses.replace(this_host(), cpu_features=frozenset({"avx2"})))
    assert place != other != keys.node_place({"arm64": 1}) != keys.node_place({})


@pytest.mark.parametrize(
    ("stage", "fault"),
    [("original", "flipped"), *(("cell", fault) for fault in ("flipped", "cut", "gone", "added", "linked", "record"))],
)
def test_a_damaged_entry_of_the_cache_is_made_again(case, stage, fault):
    case.run(ONE_CELL)
    before = case.files()
    shutil.rmtree(case.output)
    (entry,) = case.cache.glob(f"{stage}-*")
    if stage == "original":  # nobody looks at it while the cells are there
        for cell in case.cache.glob("cell-*"):
            shutil.rmtree(cell)
    path = next(path for path in sorted(entry.rglob("*.onnx")))
    if fault == "flipped":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif fault == "gone":
        path.unlink()
    elif fault == "added":
        (path.parent / "more").write_bytes(b"")
    elif fault == "linked":
        path.rename(case.folder / "away")
        path.symlink_to(case.folder / "away")
    else:
        (entry / "entry.json").write_text("{")
    report = case.run(ONE_CELL)
    assert report.exit_code == 0
    assert len(report.damaged) == 1
    assert report.damaged[0].startswith(stage)
    assert any("damaged" in note for note in case.watched.notes)
    assert case.files() == before


def test_one_failing_cell_stops_no_other_and_its_class_is_the_exit_code(case):
    case.play(CELLS[1], "parity")
    report = case.run()
    assert verdicts(report) == dict.fromkeys(CELLS, "pass") | {CELLS[1]: "parity"}
    assert report.exit_code == 5
    assert not (case.output / CELLS[1]).exists()
    assert (case.output / f"{CELLS[1]}.evidence" / "parity.json").is_file()
    written = json.loads((case.output / "matrix.json").read_text())
    assert written["counts"] == {"pass": 7, "parity": 1}
    assert written["cells"][1]["error"]["message"] == "too far off"
    assert "too far off" in (case.output / "matrix.md").read_text()


def test_a_verdict_is_kept_and_what_may_pass_by_is_tried_again(case):
    case.play(CELLS[0], "parity")
    case.play(CELLS[1], "input")
    report = case.run()
    assert report.exit_code == 5  # the more severe of the two
    (case.plays / "log").unlink()
    (case.plays / f"{CELLS[1].replace('/', '_')}.input").unlink()
    report = case.run()
    assert played_jobs.done(case.plays) == [CELLS[1]]
    assert verdicts(report)[CELLS[0]] == "parity"
    assert report.exit_code == 5


def test_a_cell_that_fails_now_leaves_no_bundle_of_an_earlier_run(case):
    case.run(ONE_CELL)
    (case.folder / "one" / "model.safetensors").write_bytes(b"other")
    case.play(CELL, "parity")
    case.run(ONE_CELL)
    assert not (case.output / CELL).exists()
    (case.plays / f"{CELL.replace('/', '_')}.parity").unlink()
    (case.folder / "one" / "model.safetensors").write_bytes(b"third")
    case.run(ONE_CELL)
    assert not (case.output / f"{CELL}.evidence").exists()
    Bundle.open(case.output / CELL).verify()


def test_what_somebody_else_keeps_in_a_cells_place_stays(case):
    (case.output / CELL).mkdir(parents=True)
    (case.output / CELL / "thesis.txt").write_text("years of work")
    report = case.run(ONE_CELL)
    assert verdicts(report) == {CELL: "output"}
    assert report.exit_code == 3
    assert (case.output / CELL / "thesis.txt").read_text() == "years of work"
    assert played_jobs.done(case.plays) == []


def test_a_model_that_cannot_be_exported_or_found_fails_its_own_cells_alone(case):
    case.play("one: the original", "input")
    report = case.run()
    assert [name for name, verdict in verdicts(report).items() if verdict == "input"] == CELLS[:4]
    assert verdicts(report)[CELLS[4]] == "pass"
    (case.folder / "two" / "config.json").unlink()
    report = case.run()
    assert set(verdicts(report).values()) == {"input", "checkpoint"}


def test_what_is_said_of_a_cell_names_keys_of_the_file_and_no_flags(case):
    (case.folder / "one" / "model.safetensors").rename(case.folder / "one" / "pytorch_model.bin")
    report = case.run(ONE_CELL)
    ((_, failure),) = report.failures()
    assert "are a pickle" in failure.message
    assert "or pass allow_pickle = true if you trust" in failure.hint
    assert report.exit_code == 3


def test_a_kept_originals_checkpoint_was_inspected_for_it_and_is_not_again(case, monkeypatch, tmp_path):
    inspected = []
    monkeypatch.setattr(fetch, "inspect", lambda folder, config: inspected.append(folder.name))
    (cell, *_) = case.planned(ONE_CELL)
    found = cells.find(cell)  # opens no weights and no tokenizer
    assert keys.request_files(cell.request) == found.files
    fetch.requested(dataclasses.replace(cell.request, original=tmp_path))
    assert inspected == []
    fetch.requested(cell.request)
    assert inspected == ["one"]


def test_a_process_that_is_killed_is_started_again_with_the_same_result(case, tmp_path_factory):
    other = Case(tmp_path_factory.mktemp("other"))
    other.run(ONE_CELL)
    case.play(CELL, "crash")
    report = case.run(ONE_CELL)
    assert report.exit_code == 0
    assert played_jobs.done(case.plays) == [CELL, CELL, "one: the original"]
    assert case.files() == other.files()


def test_one_that_dies_every_time_and_one_that_hangs_are_reported(case):
    case.play(CELLS[0], "dies")
    hanging = case.play(CELLS[1], "hangs")
    report = case.run(limits=dataclasses.replace(LIMITS, seconds=4))
    hanging.unlink()
    found = verdicts(report)
    assert found == dict.fromkeys(CELLS, "pass") | {CELLS[0]: "crash", CELLS[1]: "budget"}
    assert "SIGKILL" in report.cells[0].outcome.failure.message
    assert "4 s" in report.cells[1].outcome.failure.message
    assert report.exit_code == 1  # nobody foresaw the crash


def test_memory_decides_how_many_run_at_once(case):
    spec = '[models.one]\nmemory_mb = 3000\n[models.two]\nmemory_mb = 3000\n[targets.a]\ntargets = ["arm64-neon"]\n'
    case.run(spec)
    assert case.watched.together == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what a process takes")
def test_a_job_that_takes_more_memory_than_there_is_ends_and_the_others_do_not(case):
    case.play(CELLS[0], "large")
    spec = 'models = ["one"]\ntargets = ["x86_64-avx2", "arm64-neon"]\n'
    report = case.run(spec, limits=dataclasses.replace(LIMITS, memory_bytes=played_jobs.LARGE_BYTES * 3 // 4))
    assert verdicts(report) == {"one/x86_64-avx2/climb": "budget", "one/arm64-neon/climb": "pass"}
    assert "GB of memory" in report.cells[0].outcome.failure.message
    assert report.exit_code == 6


DRIVER = """
import sys
from pathlib import Path
from tests.unit.matrix_cases import Case

class Again(Case):
    def __init__(self, folder):
        self.folder, self.plays = folder, folder / "plays"
        self.output, self.cache = folder / "out", folder / "cache"

if __name__ == "__main__":
    Again(Path(sys.argv[1])).run()
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_an_interrupted_run_goes_on_where_it_was_and_leaves_no_process(case, sent):
    hanging = case.play(CELLS[3], "hangs")
    script = case.folder / "driver.py"
    script.write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, script, case.folder], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    until(lambda: len(list(case.cache.glob("cell-*"))) == len(CELLS) - 1)  # all but the one that hangs
    child.send_signal(sent)
    child.communicate(timeout=60)
    assert child.returncode != 0
    if sent == signal.SIGINT:
        cells = json.loads((case.output / "matrix.json").read_text())["cells"]
        found = [cell["verdict"] for cell in cells]
        assert found[3] == "not run"
        assert found.count("pass") >= 6  # the last one may be in the cache and not yet in its place
    until(lambda: not any(alive(entry["pid"]) for entry in played_jobs.log(case.plays)))
    hanging.unlink()
    (case.plays / "log").unlink()
    report = case.run()
    assert played_jobs.done(case.plays) == [CELLS[3]]
    assert report.exit_code == 0


def until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('models = ["one"]\ntargets = ["arm64-neo"]', "unknown target"),
        ('models = ["one"]\ntargets = ["all"]\nrecipes = ["fp23"]', "no recipe"),
        ('models = ["one"]\ntargets = ["all"]\n[recipes.fast]\noptimize = "speed"', "nothing to optimize"),
    ],
)
def test_a_typo_costs_nothing(case, spec, message):
    with pytest.raises(UsageError, match=message):
        case.planned(spec)
