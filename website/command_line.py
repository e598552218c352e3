"""The reference of the command line, written by typer from the application itself."""

from __future__ import annotations

import re
import subprocess
import sys

from website.links import ROOT

INTRODUCTION = """# Command line

Written by typer from the commands themselves when this site is built. `--json` prints one JSON object for machines,
and the exit code says what failed ([errors and exit codes](errors.md)).
"""


def page() -> str:
    """The page as Markdown."""
    write = [sys.executable, "-m", "typer", "edgekit.cli.app", "utils", "docs", "--name", "edgekit"]
    done = subprocess.run(write, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    whole, *commands = re.split(r"^## ", done.stdout, flags=re.MULTILINE)
    general = whole.partition("\n")[2].replace("**Commands**", "**Every command**")
    return INTRODUCTION + _linked(general) + "".join(f"\n## {_titled(command)}" for command in commands)


def _titled(command: str) -> str:
    """A heading with an anchor that does not change: ``#edgekit-export``."""
    heading, _, rest = command.partition("\n")
    return f"{heading} {{ #{_anchor(heading.strip('`'))} }}\n{rest}"


def _linked(general: str) -> str:
    return re.sub(r"^\* `([a-z][a-z-]*)`:", r"* [`\1`](#edgekit-\1):", general, flags=re.MULTILINE)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
