"""What unit tests share."""

import pytest

from edgekit.cli import main


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
