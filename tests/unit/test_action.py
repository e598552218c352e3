"""action.yml and the examples in docs/ci: valid YAML that says what edgekit takes, and shell that runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.checks.findings import ACCEPTABLE
from edgekit.cli.check import check

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "ci"


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def action():
    return read(ROOT / "action.yml")


@pytest.fixture
def run(action, tmp_path):
    """Runs the action's check step as a runner does, an ``edgekit`` that notes its arguments in Python's place."""

    def call(code, **inputs):
        (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
        given = {name: one.get("default", "") for name, one in action["inputs"].items()} | inputs
        python = tmp_path / "python"
        python.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\necho "{{}}"\nexit {code}\n')
        python.chmod(0o755)
        given["python"] = str(python)
        environment = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)
            for name, value in step["env"].items()
        }
        output = tmp_path / "output"
        output.write_text("")
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            env=os.environ | environment | {"GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        values = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return done.returncode, values, (tmp_path / "arguments").read_text().splitlines()

    return call


def test_every_step_is_one_a_composite_action_may_have(action):
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # an input pasted into the script could hold commands


def test_every_input_is_used_and_every_output_is_written(action):
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    for name in action["outputs"]:
        assert f"{name}=" in action["runs"]["steps"][-1]["run"]


def test_every_option_that_it_passes_exists(action):
    known = {f"--{name.replace('_', '-')}" for name in check.__annotations__} | {"--json", "--no-latency"}
    script = re.sub(r"--(quiet|disable-pip-version-check)", "", action["runs"]["steps"][-1]["run"])
    assert set(re.findall(r"--[a-z][a-z-]+", script)) <= known
    for group in ACCEPTABLE:
        assert group in action["inputs"]["accept"]["description"]


def test_what_is_given_reaches_the_command(run):
    code, values, arguments = run(
        0, bundle="new one", baseline="old", accept="size graph", on="wasm", latency="false", reference="minilm"
    )
    assert code == 0
    assert arguments[:5] == ["-m", "edgekit", "check", "new one", "--baseline"]
    assert arguments[-9:] == [
        "--no-latency", "--reference", "minilm", "--accept", "size", "--accept", "graph", "--on", "wasm",
    ]  # fmt: skip
    assert values["verdict"] == "pass"
    assert Path(values["json"]).read_text() == "{}\n"


@pytest.mark.parametrize(
    ("code", "lenient", "ends", "verdict"),
    [(6, False, 6, "fail"), (9, False, 9, "inconclusive"), (9, True, 0, "inconclusive"), (5, True, 5, "fail")],
)
def test_the_exit_code_is_that_of_the_check(run, code, lenient, ends, verdict):
    inputs = {"fail-on-inconclusive": "false"} if lenient else {}
    ended, values, _ = run(code, bundle="b", baseline="a", **inputs)
    assert (ended, values["verdict"], values["exit-code"]) == (ends, verdict, str(code))


def test_an_input_is_never_a_command(run, tmp_path):
    code, _, arguments = run(0, bundle=f"$(touch {tmp_path}/made)", baseline=f"`touch {tmp_path}/made`; false")
    assert code == 0
    assert not (tmp_path / "made").exists()
    assert f"$(touch {tmp_path}/made)" in arguments


def test_the_example_workflow_uses_inputs_that_the_action_has(action):
    workflow = read(EXAMPLES / "github-workflow.yml")
    (job,) = workflow["jobs"].values()
    (step,) = [step for step in job["steps"] if step.get("uses", "").startswith("edgekit/edgekit@")]
    assert set(step["with"]) <= set(action["inputs"])
    required = {name for name, one in action["inputs"].items() if one.get("required")}
    assert required <= set(step["with"])
    text = (EXAMPLES / "github-workflow.yml").read_text()
    assert set(re.findall(rf"steps\.{step['id']}\.outputs\.([\w-]+)", text)) <= set(action["outputs"])


def test_the_example_hook_is_a_command_that_parses():
    (repo,) = read(EXAMPLES / "pre-commit-config.yaml")["repos"]
    (hook,) = repo["hooks"]
    program, *arguments = hook["entry"].split()
    assert program == "edgekit"
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 7, done.stderr  # understood; there are no such bundles here
