"""A process under a time limit and a memory limit, and in plain words how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgekit.runtime.memory import resident_bytes, session_processes

_POLL_SECONDS: Final = 0.1
_LOG_TAIL: Final = 2000
_SIGNALS: Final = {  # by name: not every system has them all
    "SIGILL": "illegal instruction",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "abort",
    "SIGFPE": "arithmetic fault",
    "SIGKILL": "killed, perhaps by the system for its memory",
}


class End(StrEnum):
    """How a process ended."""

    FINISHED = "finished"
    FAILED = "failed"
    CRASHED = "crashed"
    HUNG = "hung"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a process.

    Attributes:
        how: In one word.
        detail: What happened, such as ``illegal instruction``; empty where it finished.
        log: The end of what it printed.
    """

    how: End
    detail: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        seconds: Wall-clock time.
        memory_bytes: Resident memory of it and its own children together.
        cancelled: Set by whoever no longer wants the answer; the child is ended then.
    """

    seconds: float
    memory_bytes: int
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)


def run_limited(
    command: Sequence[str | os.PathLike[str]],
    limits: Limits,
    *,
    log: Path,
    environment: Mapping[str, str],
    until: Callable[[], bool] | None = None,
) -> Ended:
    """Run a command to its end, or end it.

    Memory is watched and not capped by the kernel: emulators, V8 and Chromium reserve far more addresses than they
    ever use, so that a cap on addresses would stop them all.

    Args:
        command: What to run.
        limits: What it may take.
        log: File for what it prints.
        environment: All of its environment variables.
        until: Whether a command that does not end by itself has done its work and may be ended.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - commands are made here, of paths found here
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            stopped = _watch(child, limits, until)
        finally:
            end_session(child)
    tail = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
    if stopped is End.FINISHED:
        return Ended(stopped, "", tail)
    if stopped is not None:
        return Ended(stopped, _words(stopped, limits), tail)
    return _ended(child.returncode, tail)


def end_session(child: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started as its own session, with every process it left behind."""
    for process in session_processes(child.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    if child.poll() is None:
        child.kill()
    child.wait()


def _watch(child: subprocess.Popen[bytes], limits: Limits, until: Callable[[], bool] | None) -> End | None:
    deadline = time.monotonic() + limits.seconds
    while True:
        try:
            child.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if until is not None and until():
                return End.FINISHED
            if limits.cancelled.is_set() or time.monotonic() > deadline:
                return End.HUNG
            if resident_bytes(child.pid) > limits.memory_bytes:
                return End.OUT_OF_MEMORY
        else:
            return None


def _ended(code: int, tail: str) -> Ended:
    # A shell, and an emulator in its place, reports a signal as 128 and its number.
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        name = signal.Signals(number)
        return Ended(End.CRASHED, f"{_SIGNALS.get(name.name, 'signal')} ({name.name})", tail)
    return Ended(End.FINISHED, "", tail) if code == 0 else Ended(End.FAILED, f"exit status {code}", tail)


def _words(how: End, limits: Limits) -> str:
    if how is End.HUNG:
        return f"no end after {limits.seconds:g} s"
    return f"took more than {limits.memory_bytes / 1e9:g} GB of memory"
