import shutil
import tempfile
from pathlib import Path

import pytest

from .bundles import write_releases
from .parsed_once import parsed_once
from .scenarios import SCENARIOS, World

MEMORY = Path("/dev/shm")  # noqa: S108 - thousands of small stores; nothing there outlives the test


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    return write_releases(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module", autouse=True)
def documents_parsed_once():
    with parsed_once():
        yield


@pytest.fixture
def quick_path():
    """A folder on a fast file system where there is one, removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def world(bundles, quick_path):
    return lambda name: World(SCENARIOS[name], bundles, quick_path / "world")


@pytest.fixture
def tally(capsys):
    """Print a count where `pytest -s` or a log shows it."""

    def show(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return show
