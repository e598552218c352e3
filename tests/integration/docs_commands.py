"""The commands of README.md and docs/: found, held against the command line, and run page by page as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from edgekit.cli.app import app

ROOT = Path(__file__).parents[2]
RULES = Path(__file__).with_name("docs_commands.toml")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHELL = {"sh", "bash", "console"}
LIMIT_S = 900


@dataclass(frozen=True)
class Command:
    """One command, or one script in Python, of a page; ``text`` is without its comment."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"

    @property
    def words(self) -> list[str]:
        """What follows ``edgekit``; empty where this is another program."""
        words = shlex.split(self.text) if self.language in SHELL else []
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        return words[1:] if words and Path(words[0]).name == "edgekit" else []


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Number of the first line, language and lines of each fenced block."""
    begun: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and begun is None:
            begun, lines = (number + 1, fence[1]), []
        elif fence and begun:
            yield *begun, lines
            begun = None
        else:
            lines.append(line)
    assert begun is None, f"a block that begins in line {begun} has no end"


def collect(path: Path) -> list[Command]:
    """Every command of a page, in order."""
    page, found = path.relative_to(ROOT).as_posix(), []
    for first, language, lines in blocks(path.read_text(encoding="utf-8")):
        if language == "python":
            found.append(Command(page, first, language, "\n".join(lines)))
        elif language in SHELL:
            joined, start = "", first
            for number, line in enumerate(lines, start=first):
                if language == "console" and not joined and not line.startswith("$ "):
                    continue  # what the command prints
                start = start if joined else number
                joined += line.removeprefix("$ ")
                if joined.endswith("\\"):
                    joined = joined[:-1]
                    continue
                if text := _uncommented(joined):
                    found.append(Command(page, start, language, text))
                joined = ""
    return found


def _uncommented(line: str) -> str:
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place].strip()
    return line.strip()


def parse(words: list[str]) -> None:
    """Hold the words after ``edgekit`` against the command line: command, options, their values' types, arguments.

    Raises:
        AssertionError: They would not be taken.
    """
    name, *rest = [word for word in words if word not in {"--json", "--debug"}] or ["--help"]
    command = _commands().get(name)
    assert command is not None, f"there is no command {name!r}"
    try:
        command.make_context(name, rest)
    except typer.TyperException as error:
        raise AssertionError(f"edgekit {shlex.join(words)}: {error.format_message()}") from error


@cache
def _commands() -> Mapping[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def spans(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Command and options of every ``edgekit …`` between backticks in a page's prose."""
    text = re.sub(r"^\s*```.*?^\s*```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`edgekit\s+([^`]+)`", text):
        name, *rest = span.split()
        yield name, re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(rest))


def options_of(name: str) -> set[str] | None:
    """Every option of a command; None where there is no such command."""
    command = _commands().get(name)
    return None if command is None else set(chain(*((*one.opts, *one.secondary_opts) for one in command.params)))


@dataclass
class Rules:
    """docs_commands.toml, and which of its entries were of use."""

    tables: Mapping[str, list[dict[str, Any]]]
    used: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def read(cls) -> Rules:
        return cls(tomllib.loads(RULES.read_text(encoding="utf-8")))

    def matching(self, kind: str, command: Command) -> list[dict[str, Any]]:
        """The entries of a kind that are about a command."""
        found = []
        for place, entry in enumerate(self.tables[kind]):
            if (
                fnmatchcase(command.page, entry.get("page", "*"))
                and entry.get("language", command.language) == command.language
                and fnmatchcase(command.text, entry.get("command", "*"))
                and entry.get("text", "") in command.text
            ):
                self.used.add((kind, place))
                found.append(entry)
        return found

    def is_left(self, command: Command) -> bool:
        return bool(self.matching("left", command))

    def is_long(self, page: str) -> bool:
        return any(fnmatchcase(page, entry["page"]) for entry in self.tables["long"])

    def text(self, command: Command, places: Mapping[str, str]) -> str:
        """What is run: with what an entry puts in place of other words, or behind them."""
        text = command.text
        for entry in self.matching("replaced", command):
            text = text.replace(entry["text"], entry["by"].format(**places))
        return " ".join([text, *(entry["words"] for entry in self.matching("added", command))])

    def unused(self) -> list[str]:
        return [
            f"{kind}: {entry}"
            for kind, entries in self.tables.items()
            if kind != "long"
            for place, entry in enumerate(entries)
            if (kind, place) not in self.used
        ]


@dataclass
class Exports:
    """Bundles by what made them, so that no command is run twice in a session."""

    made: dict[tuple[str, ...], Path]
    kept: Path

    def run(self, words: list[str], folder: Path, text: str, environment: Mapping[str, str]) -> None:
        """Run an export, or take what the same words made before."""
        output = words[words.index("-o") + 1]
        key = tuple(word for word in words if word not in {"-o", output})
        if key not in self.made:
            run(["bash", "-euo", "pipefail", "-c", text], folder, environment)
            self.made[key] = self.kept / str(len(self.made))
            shutil.copytree(folder / output, self.made[key])
        elif not (folder / output).exists():
            shutil.copytree(self.made[key], folder / output)


def run(words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program; every exit code but 0 is wrong."""
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def environment(folder: Path) -> dict[str, str]:
    """A reader's: this Python's programs first, nothing of this user's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEKIT_", "HF_", "COLUMNS"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return own | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "HF_HOME": str(home / "hf"),
        "NO_PROXY": "127.0.0.1",
    }


def run_page(page: str, folder: Path, rules: Rules, exports: Exports, places: Mapping[str, str]) -> list[str]:
    """Run a page from top to bottom in a folder; what was run, in words."""
    surroundings, done = environment(folder) | {name: value for name, value in places.items() if name.isupper()}, []
    for command in collect(ROOT / page):
        if rules.is_left(command):
            continue
        text = rules.text(command, places)
        try:
            if command.language == "python":
                run([sys.executable, "-c", text], folder, surroundings)
            elif command.words[:1] == ["export"] and "-o" in command.words:
                exports.run(shlex.split(text)[1:], folder, text, surroundings)
            else:
                run(["bash", "-euo", "pipefail", "-c", text], folder, surroundings)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{command}\nas {text!r}: {error}") from error
        done.append(text)
    return done
