import pytest

from .bundles import write_all
from .services import running


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A tiny bundle for each task, by name."""
    return write_all(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def service(bundles):
    """All of them behind one service."""
    with running(bundles) as made:
        yield made


@pytest.fixture
def measured_faster(monkeypatch):
    """Calls of one thread side by side measure twice as fast, wherever they are tried."""
    monkeypatch.setattr("edgekit.serve.gain.side_by_side", lambda wide, narrow, calls: 2.0)
