"""An environment for each peer, built once into ``benchmarks/envs``. Standard library only."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

OWN = "edgekit"
TABLE = Path(__file__).with_name("environments.toml")
STAMP = "requirements.json"

Say = Callable[[str], None]


class UnavailableError(Exception):
    """A peer cannot be built or run here; the message says why and becomes its row."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a peer runs.

    Attributes:
        name: Its folder.
        requirements: For pip, pinned.
        needs: Programs that building them takes.
        variables: Environment variables of the build.
        summary: What it is, where the name does not say.
    """

    name: str
    requirements: tuple[str, ...]
    needs: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""


def read(table: Path = TABLE) -> dict[str, Environment]:
    """Environments by name.

    Raises:
        ValueError: The table has a key that means nothing here, or an environment pins nothing.
    """
    environments = {}
    for name, entry in tomllib.loads(table.read_text(encoding="utf-8")).items():
        unknown = set(entry) - {"requirements", "needs", "variables", "summary"}
        if unknown:
            raise ValueError(f"{table.name}: {name}: unknown {', '.join(sorted(unknown))}")
        requirements = tuple(entry.get("requirements", ()))
        loose = [line for line in requirements if not any(sign in line for sign in ("==", "~=", ">="))]
        if not requirements or loose:
            raise ValueError(f"{table.name}: {name}: {', '.join(loose) or 'nothing'} is not pinned")
        needs, summary = tuple(entry.get("needs", ())), entry.get("summary", "")
        environments[name] = Environment(name, requirements, needs, entry.get("variables", {}), summary)
    return environments


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def build(environment: Environment, root: Path, *, say: Say = print) -> Path:
    """The Python of an environment, made now where its folder does not hold these requirements yet.

    ``PIP_FLAGS`` go to pip. Modules are compiled when first used, not all of torch's now. A compiler runs at most two
    jobs, so that a small machine keeps its memory.

    Raises:
        UnavailableError: A program is missing, or pip failed.
    """
    folder = root / environment.name
    python, stamp = python_of(folder), folder / STAMP
    wanted = list(environment.requirements)
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == wanted:
        return python
    missing = [program for program in environment.needs if shutil.which(program) is None]
    if missing:
        raise UnavailableError(f"building it takes {', '.join(missing)}, which this machine does not have")
    say(f"making the environment {environment.name}: {environment.summary or ', '.join(wanted)}")
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    jobs = {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "MAKEFLAGS": "-j2"}
    done = subprocess.run(
        [*pip, *shlex.split(os.environ.get("PIP_FLAGS", "")), *wanted],
        check=False,
        capture_output=True,
        text=True,
        env=jobs | dict(os.environ) | dict(environment.variables),
    )
    if done.returncode:
        raise UnavailableError(f"pip could not install it: {_reason(done.stderr)}")
    stamp.write_text(json.dumps(wanted), encoding="utf-8")
    return python


class Pythons(Mapping[str, Path]):
    """The Python of each environment by name, built when first asked for; :data:`OWN` is the one that runs this.

    Looking one up raises :class:`UnavailableError` with the reason where it cannot be built, without a second try.
    """

    def __init__(self, root: Path, table: Mapping[str, Environment], *, say: Say = print) -> None:
        self._root = root
        self._table = table
        self._say = say
        self._found: dict[str, Path | str] = {OWN: Path(sys.executable)}

    def __getitem__(self, name: str) -> Path:
        if name not in self._found:
            try:
                self._found[name] = build(self._table[name], self._root, say=self._say)
            except UnavailableError as error:
                self._found[name] = str(error)
        found = self._found[name]
        if isinstance(found, str):
            raise UnavailableError(found)
        return found

    def __iter__(self) -> Iterator[str]:
        """Names of those that were asked for and are there."""
        return (name for name, found in self._found.items() if isinstance(found, Path))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _reason(text: str) -> str:
    """The last error of pip, in a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return ((errors or lines or ["it said nothing"])[-1])[:300]
