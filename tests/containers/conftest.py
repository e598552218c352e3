import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.containers.context import Recipe, write_context

# ruff: noqa: TID252 - tests are no installed package
from ..unit.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A tiny bundle that embeds texts."""
    return write_tiny_model(tmp_path_factory.mktemp("contained") / "bundle")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """edgekit's own wheel."""
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation: it needs no network, and hatchling is in the dev extra.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def context(bundle, tmp_path):
    """Writes a context; gives its folder."""

    def write(kind, **more):
        folder = tmp_path / f"context-{kind}"
        write_context(Bundle.open(bundle), Recipe(kind, **more), folder)
        return folder

    return write
