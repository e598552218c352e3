"""A worker in a fresh process: request and reply are JSON files; what the process cost. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environments import UnavailableError

# Nothing here is to ask a hub, or to tell anybody that it runs.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "NNCF_CI": "1",
    "OLIVE_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker answered, and what it cost.

    Attributes:
        values: Its JSON object.
        began_ns: The clock that all processes share, when it was started.
        seconds: Wall time of the process.
        peak_mb: Peak resident memory, 1e6 bytes, as the kernel counts it; 0 where it does not.
    """

    values: dict[str, Any]
    began_ns: int
    seconds: float
    peak_mb: float


def ask(python: Path, worker: Path, request: Mapping[str, Any], *, timeout_s: float = 1800) -> Reply:
    """Run ``python worker REQUEST REPLY`` to its end. What it prints is kept only for a failure's reason.

    Raises:
        UnavailableError: It failed, answered nothing, or took longer than ``timeout_s``.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        asked, answered = Path(folder, "request.json"), Path(folder, "reply.json")
        asked.write_text(json.dumps(request), encoding="utf-8")
        environment = os.environ | QUIET | request.get("environment", {})
        began = time.monotonic_ns()
        command = [str(python), str(worker), str(asked), str(answered)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as process:
            peak_mb = _wait(process, timeout_s)
        seconds = (time.monotonic_ns() - began) / 1e9
        if process.returncode or not answered.exists():
            raise UnavailableError(_why(process.returncode, log, seconds, timeout_s))
        return Reply(json.loads(answered.read_text(encoding="utf-8")), began, seconds, peak_mb)


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> float:
    """Wait for it, and kill it when its time is up; the peak memory in MB."""
    if not hasattr(os, "wait4"):
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
        return 0
    end = time.monotonic() + timeout_s
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            process.kill()
        time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes elsewhere
    return usage.ru_maxrss * unit / 1e6


def _why(code: int, log: Any, seconds: float, timeout_s: float) -> str:
    if seconds >= timeout_s:
        return f"took longer than {timeout_s:.0f} s"
    log.seek(0)
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(" ", 1)[0]]
    said = (errors or lines or ["it said nothing"])[-1][:300]
    return f"{said} (exit code {code})"
