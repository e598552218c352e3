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
