"""The workflows in docs/ci use commands and options that there are."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from edgekit.cli.app import app

FOLDER = Path(__file__).parents[2] / "docs" / "ci"
COMMANDS = typer.main.get_command(app).commands


def lines(workflow):
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            yield from step.get("run", "").splitlines()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*workflow*.yml")), ids=lambda path: path.name)
def test_every_command_of_a_workflow_exists_with_its_options(path):
    found = 0
    for line in lines(yaml.safe_load(path.read_text("utf-8"))):
        match = re.match(r"\s*(?:python -m )?edgekit (.*)", line)
        if not match:
            continue
        name, *words = shlex.split(match[1])
        options = {
            option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= options, line
        found += 1
    assert found >= 2


def test_the_release_exports_checks_signs_and_pushes_in_this_order():
    text = list(lines(yaml.safe_load((FOLDER / "release-workflow.yml").read_text("utf-8"))))
    named = [match[1] for line in text if (match := re.match(r"\s*edgekit (\w+)", line))]
    assert named == ["export", "pull", "check", "sign", "verify", "push", "dockerfile"]
