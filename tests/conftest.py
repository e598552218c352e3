"""What all tests share."""

import pytest

from edgekit.cli import main


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With ``--dist loadfile``; see there."""
    from .scheduling import Together

    return Together(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs the command line; gives (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
