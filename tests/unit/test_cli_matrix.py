"""``edgekit matrix`` on the command line, its jobs played."""

import importlib.util
import json

import pytest

from edgekit.errors import EdgekitError
from edgekit.matrix.outcome import SEVERITY, Failure, Outcome, exit_code

from .matrix_cases import CELLS, SPEC, Case, play_processes


@pytest.fixture
def case(tmp_path, monkeypatch):
    play_processes(monkeypatch)
    made = Case(tmp_path)
    (tmp_path / "matrix.toml").write_text(SPEC)
    return made


def asked(case, *more):
    places = ("-o", case.output, "--cache", case.cache, "--token", case.plays, "--workers", "2")
    return ("matrix", case.folder / "matrix.toml", *places, *more)


def test_a_table_tells_of_every_cell_in_80_columns(call, case):
    case.play(CELLS[1], "parity")
    case.play(CELLS[2], "parity")
    case.play(CELLS[5], "bug")
    code, out, err = call(*asked(case))
    assert code == 5
    assert max(map(len, (out + err).splitlines())) <= 80
    table = out.partition("What failed")[0]
    assert [tuple(line.split()[1:4]) for line in table.splitlines() if "-" in line and "/" not in line] == [
        tuple(name.split("/")) for name in CELLS
    ]
    assert f"{CELLS[1]} and 1 more  parity  too far off" in out
    assert "8: 5 pass, 2 parity, 1 unexpected" in out
    assert len([line for line in err.splitlines() if " s" in line and "/" in line]) == len(CELLS)
    code, out, err = call(*asked(case))
    assert (code, out.count("cached")) == (5, 7)  # the bug may have been the machine's: it is tried again


def test_json_is_one_object_and_the_exit_code_stands_in_it(call, case):
    code, out, _ = call(*asked(case, "--json"))
    document = json.loads(out)
    assert (code, document["exit_code"], document["counts"]) == (0, 0, {"pass": 8})
    first = document["cells"][0]
    assert (first["model"], first["target"], first["recipe"]) == tuple(CELLS[0].split("/"))
    assert first["bundle"] == str(case.output / CELLS[0])
    assert json.loads((case.output / "matrix.json").read_text())["cells"] == document["cells"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.toml",), 2, "cannot be read"),
        (("matrix.toml", "--address", "127.0.0.1:1"), 2, "--engine ray"),
        (("matrix.toml", "--engine", "slurm"), 2, "slurm"),
        (("broken.toml",), 3, "not TOML"),
        (("matrix.toml", "--track", "env"), 2, "MLFLOW_TRACKING_URI"),
    ],
)
def test_what_makes_no_sense_ends_before_anything_is_done(call, case, monkeypatch, arguments, code, message):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (case.folder / "broken.toml").write_text("models = [")
    found, _, err = call("matrix", case.folder / arguments[0], *arguments[1:], "-o", case.output)
    assert found == code
    assert message in " ".join(err.split())
    assert not case.output.exists()


def test_without_ray_it_says_what_to_install(call, case, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = call(*asked(case, "--engine", "ray"))
    assert code == 2
    assert "pip install 'edgekit[ray]'" in err


def test_the_most_severe_failure_gives_the_exit_code_and_no_class_is_forgotten():
    def of(*codes):
        return exit_code(Outcome(failure=Failure("", code, "") if code else None) for code in codes)

    assert of(0, 0) == 0
    assert of(0, 9, 6, 5) == 5
    assert of(9, 2, 3) == 3
    assert of(5, 7) == 7
    assert of(1, 4) == 1
    known = {error.exit_code for error in subclasses(EdgekitError)} | {1}
    assert known == {error.exit_code for error in SEVERITY}


def subclasses(one):
    for inner in one.__subclasses__():
        yield inner
        yield from subclasses(inner)
