"""Tracking as far as it needs no server; with one: tests/integration/test_tracking.py."""

import subprocess
import sys

import pytest

from edgekit.errors import UsageError
from edgekit.tracking.server import Tracker


def test_env_without_the_variable_is_a_usage_error(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI is not set"):
        Tracker("env")


def test_the_command_line_imports_mlflow_and_ray_only_when_asked():
    script = (
        "import sys; from edgekit.cli import main; main(['export', '--help']); main(['matrix', '--help']); "
        "main(['models']); print([name for name in ('mlflow', 'ray', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
