"""Run a child process and say what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall time in seconds, peak resident memory in MB (1e6 bytes) and what it printed."""

    seconds: float
    peak_mb: float
    output: str


def run(command: list[str], *, show: bool = False) -> Cost:
    """Run ``command`` to its end. Its standard error goes to ours; its output too where ``show``.

    Peak memory is the kernel's (``wait4``), over the child and the children it waited for. Python may keep its
    bytecode, which an installed package has: a start would otherwise compile every file.

    Raises:
        SystemExit: The child failed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.monotonic()
    with subprocess.Popen(command, stdout=None if show else subprocess.PIPE, text=True, env=environment) as child:
        output = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"exit code {child.returncode}: {' '.join(command[:6])} …")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes elsewhere
    return Cost(seconds, usage.ru_maxrss * unit / 1e6, output)
