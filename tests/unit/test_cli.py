"""What the command line promises: exit codes, readable errors, one JSON object, nothing heavy imported early."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import edgekit
from edgekit.errors import ParityError

from .shown_bundle import shown_evidence, shown_manifest, write_shown_bundle

COMMANDS = ("export", "matrix", "inspect", "run", "bench", "verify", "check", "report", "targets", "models")


@pytest.fixture
def pipeline(monkeypatch):
    """A pipeline that keeps the request and does what the test says."""
    module = types.ModuleType("edgekit.pipeline")
    module.BuildRequest = types.SimpleNamespace
    module.requests = []

    def build(request, progress):
        module.requests.append(request)
        with progress.stage("fetch"):
            progress.note("from the registry package")
        with progress.stage("judge int8-dynamic"):
            progress.advance(1, 2)
            print("a library prints")
            if module.failure:
                raise module.failure
        return types.SimpleNamespace(bundle=request.output, manifest=shown_manifest(), evidence=shown_evidence())

    module.build = build
    module.failure = None
    monkeypatch.setitem(sys.modules, "edgekit.pipeline", module)
    return module


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_that_names_the_flags_of_all(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "--json" in out
    assert "--debug" in out


def test_the_version_for_people_and_machines(call):
    assert call("--version") == (0, f"edgekit {edgekit.__version__}\n", "")
    assert json.loads(call("--json", "--version")[1]) == {"version": edgekit.__version__}


def test_without_a_command_it_shows_help_and_is_a_usage_error(call):
    code, out, _ = call()
    assert code == 2
    for command in COMMANDS:
        assert command in out


def test_an_unknown_target_ends_before_anything_is_built(call, pipeline):
    code, out, err = call("export", "minilm", "-t", "x86_64-avx")
    assert (code, out) == (2, "")
    assert err == "error[usage]: unknown target 'x86_64-avx'\nhint: did you mean 'x86_64-avx2'?\n"
    assert pipeline.requests == []


@pytest.mark.parametrize(
    "arguments", [("--json", "export", "m", "-t", "nope"), ("export", "m", "-t", "nope", "--json")]
)
def test_an_error_as_json_is_one_object_on_standard_output(call, pipeline, arguments):
    code, out, err = call(*arguments)
    assert (code, err) == (2, "")
    assert set(json.loads(out)["error"]) == {"kind", "message", "hint", "exit_code"}
    assert json.loads(out)["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("export",), ("export", "minilm"), ("targets", "--nonsense"), ("run", "b", "--threads", "0")],
)
def test_what_the_parser_refuses_is_a_usage_error_too(call, arguments):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]: ")
    assert "--help`" in err
    code, out, _ = call(*arguments, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (2, "usage")


def test_flags_after_two_dashes_are_input_and_not_flags(call):
    code, out, err = call("nonsense", "--", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]: ")


def test_export_hands_the_pipeline_what_was_asked_for(call, pipeline, tmp_path):
    call(
        "export",
        "owner/some model",
        "-t",
        "arm64-neon",
        "-t",
        "all",
        "--recipe",
        "fp32",
        "--token",
        "secret",
        "--replace",
    )
    request = pipeline.requests[0]
    assert request.targets == (
        "arm64-neon",
        "arm64-dotprod",
        "arm64-i8mm",
        "wasm-simd",
        "x86_64-avx2",
        "x86_64-avx512-vnni",
    )
    assert request.output == Path("bundles/some-model")
    assert (request.recipe, request.token, request.replace) == ("fp32", "secret", True)
    assert (request.task, request.data, request.revision) == (None, None, None)
    assert (request.allow_pickle, request.allow_unproven) == (False, False)
    call("export", "minilm", "-t", "all", "-o", tmp_path / "here")
    assert pipeline.requests[1].output == tmp_path / "here"


def test_export_ends_with_a_table_and_the_next_commands(call, pipeline):
    code, out, err = call("export", "minilm", "-t", "all")
    assert code == 0
    for word in ("int8-vnni", "+smooth", "0.9974", "0.9500", "x86_64-avx512-vnni", "edgekit verify bundles/minilm"):
        assert word in out
    assert "a library prints" not in out
    for word in ("fetch", "from the registry package", "judge int8-dynamic"):
        assert word in err


def test_export_as_json_prints_nothing_else(call, pipeline):
    code, out, _ = call("export", "minilm", "-t", "all", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["manifest"]["name"] == "minilm"
    assert document["evidence"] == shown_evidence()
    assert document["bundle"] == str(Path("bundles/minilm"))


def test_a_parity_failure_exits_5_with_its_hint(call, pipeline):
    pipeline.failure = ParityError("int8-dynamic misses the budget", hint="leave --recipe out")
    code, out, err = call("export", "minilm", "-t", "all")
    assert (code, out) == (5, "")
    assert "error[parity]: int8-dynamic misses the budget\nhint: leave --recipe out\n" in err
    assert "Traceback" not in err


def test_a_missing_build_side_names_the_install_command(call, pipeline):
    pipeline.failure = ModuleNotFoundError("No module named 'torch'", name="torch")
    code, _, err = call("export", "minilm", "-t", "all")
    assert code == 2
    assert "'torch'" in err
    assert "pip install 'edgekit[export]'" in err


def test_a_missing_module_of_edgekit_itself_is_not_blamed_on_the_install(call, pipeline):
    pipeline.failure = ModuleNotFoundError("No module named 'edgekit.nothing'", name="edgekit.nothing")
    code, _, err = call("export", "minilm", "-t", "all")
    assert code == 1
    assert "edgekit[export]" not in err


def test_what_nobody_foresaw_exits_1_and_names_debug(call, pipeline):
    pipeline.failure = ZeroDivisionError("by nought")
    code, _, err = call("export", "minilm", "-t", "all")
    assert code == 1
    assert "error[unexpected]: ZeroDivisionError: by nought\n" in err
    assert "--debug" in err
    assert "Traceback" not in err


def test_want_of_memory_is_the_hosts_matter(call, pipeline):
    pipeline.failure = MemoryError()
    code, _, err = call("export", "minilm", "-t", "all")
    assert code == 8
    assert "error[host]: there is not enough memory\n" in err


@pytest.mark.parametrize("failure", [ZeroDivisionError("by nought"), ParityError("misses")])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(call, pipeline, failure):
    pipeline.failure = failure
    code, _, err = call("export", "minilm", "-t", "all", "--debug")
    assert code == getattr(failure, "exit_code", 1)
    assert "Traceback (most recent call last)" in err
    assert type(failure).__name__ in err


def test_interrupting_exits_130_without_a_traceback(call, pipeline):
    pipeline.failure = KeyboardInterrupt()
    code, out, err = call("export", "minilm", "-t", "all")
    assert (code, out) == (130, "")
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err


def test_inspect_shows_what_was_proved_and_what_was_left(call, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    code, out, err = call("inspect", tmp_path / "b")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "proved 2 of 2 variants pass" in lines
    assert "judged with 800 inputs of builtin-en-1" in lines
    assert "judged on Example CPU (x86_64, linux; onnxruntime 1.32.0)" in lines
    assert any(line.startswith("x86_64-avx2 int8-reduced on such a CPU") for line in lines)
    assert any(line.startswith("arm64-neon int8-reduced on another CPU") for line in lines)
    assert any(line.startswith("nearest-neighbour agreement 0.9500 0.9300..0.9630 >= 0.9") for line in lines)
    assert any(line.startswith("length deviation 0.0000 <= 0.02") for line in lines)
    assert "changed constants 0.0000 0 ✓" in lines
    assert "36 of 36 products became int8" in lines
    assert "unproven: 30 texts are fewer than 100" in lines
    assert "int8-vnni pass" in lines
    assert any(line.startswith("int8-dynamic fail arm64-neon nearest-neighbour agreement 0.8483") for line in lines)


def test_inspect_fits_80_columns_without_cutting(call, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    _, out, _ = call("inspect", os.path.relpath(tmp_path / "b"))
    assert max(len(line) for line in out.splitlines()[3:]) <= 80
    for whole in ("x86_64-avx512-vnni", "int8-dynamic+smooth+reduced-range", "worst cosine alone against in a batch"):
        assert whole in out


def test_inspect_of_a_bundle_without_evidence_says_that_nothing_is_recorded(call, tmp_path):
    write_shown_bundle(tmp_path / "b")
    code, out, _ = call("inspect", tmp_path / "b")
    assert code == 0
    assert "not recorded" in out
    assert "Parity with the reference" not in out


def test_inspect_as_json_holds_manifest_and_evidence(call, tmp_path):
    manifest = write_shown_bundle(tmp_path / "b", shown_evidence())
    code, out, _ = call("inspect", tmp_path / "b", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["manifest"] == json.loads(manifest.to_json())
    assert document["evidence"] == {"parity": shown_evidence()}


def test_a_bundle_cannot_steer_the_terminal(call, tmp_path):
    evidence = shown_evidence()
    evidence["judged_on"]["cpu"] = "Evil\x1b[2J\x1b]0;title\x07[bold]CPU[/bold]"
    evidence["tried"][0]["reason"] = "\x1b[8mhidden"
    write_shown_bundle(tmp_path / "b", evidence)
    _, out, _ = call("inspect", tmp_path / "b")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]CPU[/bold]" in out


def test_broken_evidence_is_a_typed_error_with_its_key(call, tmp_path):
    evidence = shown_evidence()
    del evidence["variants"][0]["parity"]["verdict"]
    write_shown_bundle(tmp_path / "b", evidence)
    code, _, err = call("inspect", tmp_path / "b")
    assert code == 3
    assert "evidence/parity.json: variants[0]: parity: missing key 'verdict'" in err


def test_a_folder_that_is_no_bundle_exits_7(call, tmp_path):
    code, _, err = call("inspect", tmp_path)
    assert code == 7
    assert err.startswith("error[integrity]: ")


def test_targets_and_models_as_json(call):
    targets = json.loads(call("targets", "--json")[1])["targets"]
    assert targets["x86_64-avx2"]["cpu_features"] == ["avx2", "fma"]
    assert {type(target["runs_here"]) for target in targets.values()} == {bool}
    assert json.loads(call("models", "--json")[1])["minilm"]["license"] == "apache-2.0"


def test_targets_marks_what_this_machine_is(call, monkeypatch):
    from edgekit.runtime import host

    features = frozenset({"asimd", "asimddp"})
    monkeypatch.setattr(host, "detect_host", lambda: host.Host("arm64", features, "Example", "linux"))
    code, out, _ = call("targets")
    assert code == 0
    assert "it is         arm64-neon, arm64-dotprod" in out


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    root = Path(edgekit.__file__).parent.parent
    everything = os.environ | {"PYTHONPATH": str(root)} | environment
    return subprocess.run([sys.executable, *arguments], env=everything, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from edgekit.cli import main; main(['--help']); main(['models', '--json']);"
        "print([m for m in ('numpy', 'onnxruntime', 'tokenizers', 'torch', 'transformers') if m in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_a_console_without_unicode_still_shows_everything(tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    shown = python("-m", "edgekit", "inspect", str(tmp_path / "b"), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "|ok" in shown.stdout
    missing = python("-m", "edgekit", "inspect", "nö", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert missing.returncode == 7
    assert "n\\xf6: does not exist" in missing.stderr


def test_a_reader_that_goes_away_is_no_error():
    root = Path(edgekit.__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "models", "--json"],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # long before Python has started
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_completion_offers_targets_and_models():
    from edgekit.cli.records import complete_model, complete_target

    assert [name for name, _ in complete_target("x86")] == ["x86_64-avx2", "x86_64-avx512-vnni"]
    assert [name for name, _ in complete_target("al")] == ["all"]
    assert [name for name, _ in complete_model("mini")] == ["minilm"]
