"""``edgekit matrix`` on the command line, its jobs played."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgekit.cli.app import app
from edgekit.errors import EdgekitError
from edgekit.matrix.hints import KEYS, in_the_file
from edgekit.matrix.outcome import SEVERITY, Failure, Outcome, exit_code

from .matrix_cases import CELLS, SPEC, Case, play_processes

ROOT = Path(__file__).parents[2]
# Of `edgekit export`, and of the matrix's command as well, or of no cell.
SHARED = {"as_json", "debug", "experiment", "log_bundle", "model", "output", "replace", "token", "track"}
FOUND_IN_THE_CACHE = """
import sys
from edgekit.cli import main
started = []
sys.addaudithook(lambda event, _: started.append(event) if event in ("subprocess.Popen", "os.fork") else None)
code = main(sys.argv[1:])
heavy = {"onnx", "onnx_ir", "onnxscript", "optimum", "safetensors", "sentence_transformers", "tokenizers", "torch",
         "transformers"}
print([code, sorted(heavy & set(sys.modules)), started])
"""


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


def test_what_is_in_the_cache_is_found_without_what_builds_and_without_a_process(call, case):
    assert call(*asked(case))[0] == 0
    arguments = [*map(str, asked(case))]
    script = [sys.executable, "-c", FOUND_IN_THE_CACHE, *arguments]
    done = subprocess.run(script, check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[0, [], []]"
    assert done.stdout.count(" cached") == len(CELLS)


def test_every_flag_of_an_export_that_a_matrix_has_in_its_file_has_a_key():
    export = typer.main.get_command(app).commands["export"]
    flags = {option.removeprefix("--") for one in export.params if one.name not in SHARED for option in one.opts}
    assert {flag for flag in flags if not flag.startswith("-")} == set(KEYS)


def test_flags_become_keys_and_nothing_else_does():
    assert in_the_file("try --recipe fp32") == 'try recipe = "fp32"'
    assert in_the_file("more rows with --data, or --allow-unproven") == "more rows with data, or allow_unproven = true"
    for text in ("HEAD --address", "out/a--data/x", "--data-folder", "pip install --upgrade edgekit"):
        assert in_the_file(text) == text


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
