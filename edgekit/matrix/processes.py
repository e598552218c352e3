"""Jobs in processes of this machine: one process a job, as many at once as memory and cores allow."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Self

from edgekit.errors import BudgetError, OutputError
from edgekit.matrix import work
from edgekit.matrix.cache import Cache
from edgekit.matrix.engine import Done, crashed
from edgekit.matrix.outcome import Failure, Outcome, read_outcome
from edgekit.matrix.work import Job, Perform
from edgekit.runtime.memory import available_bytes, resident_bytes

ATTEMPTS: Final = 2  # of a job whose process died; it may have been somebody else's fault
LOG: Final = "log.txt"
_LOOK_S: Final = 0.5
_LOG_TAIL: Final = 500
_SHARE_OF_AVAILABLE: Final = 0.8
_WITHOUT_A_WORD: Final = 8_000_000_000  # where the system does not say what is available
_MORE: Final = 1.25  # than what a job was seen to take, for its next attempt
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """What all jobs together, and each, may take.

    Attributes:
        workers: Processes at once.
        threads: Of each.
        memory_bytes: Of all together.
        seconds: Of each.
    """

    workers: int
    threads: int
    memory_bytes: int
    seconds: float


def default_memory_bytes() -> int:
    """Four fifths of what this machine has available now."""
    available = available_bytes()
    return int(available * _SHARE_OF_AVAILABLE) if available is not None else _WITHOUT_A_WORD


@dataclass(slots=True)
class _Waiting:
    job: Job
    original: Path | None
    attempts: int = 0


@dataclass(slots=True)
class _Running:
    waiting: _Waiting
    process: BaseProcess
    folder: Path
    started: float
    seen_bytes: int = 0


class Processes:
    """An :class:`~edgekit.matrix.engine.Engine` of processes.

    A job starts when there is a free worker and room for the memory it is said to take; one that takes more is found
    out by looking, and the youngest is ended and put back when all together take more than the budget.

    Args:
        limits: Of workers, threads, memory and time.
        cache: Whose staging folders the work is done in.
        perform: Does a job, in its process.
        preload: Modules that are imported once, in the server that processes fork from.
    """

    def __init__(
        self,
        limits: Limits,
        cache: Cache,
        perform: Perform = work.perform,
        preload: Sequence[str] = ("edgekit.matrix.warm",),
    ) -> None:
        self._perform = perform
        self._preload = preload
        self._limits = limits
        self._cache = cache
        self._waiting: list[_Waiting] = []
        self._running: list[_Running] = []
        self._ended: list[Done] = []
        self._context: ForkServerContext | SpawnContext | None = None

    def __enter__(self) -> Self:
        """Itself; the server that workers fork from begins with its imports."""
        self._origin()
        return self

    def __exit__(self, *error: object) -> None:
        """Kill what still runs."""
        self._waiting.clear()
        for one in self._running:
            _kill(one.process)
            self._cache.drop(one.folder)
        self._running.clear()

    def running(self) -> tuple[str, ...]:
        """Names of the jobs that have a process."""
        return tuple(one.waiting.job.name for one in self._running)

    def submit(self, job: Job, original: Path | None) -> None:
        """Start it, or let it wait for room."""
        self._waiting.append(_Waiting(job, original))
        self._fill()

    def wait(self, seconds: float) -> Done | None:
        """The next job that ended; None where none did within the time."""
        until = time.monotonic() + seconds
        while not self._ended and (self._running or self._waiting):
            left = until - time.monotonic()
            if left <= 0:
                return None
            connection.wait([one.process.sentinel for one in self._running], timeout=min(_LOOK_S, left))
            self._look()
            self._fill()
        return self._ended.pop(0) if self._ended else None

    def _fill(self) -> None:
        """Start what there is room for, in order; a large one lets smaller ones go first, but never waits alone."""
        for waiting in tuple(self._waiting):
            if len(self._running) >= self._limits.workers:
                return
            taken = sum(max(one.waiting.job.memory_bytes, one.seen_bytes) for one in self._running)
            if self._running and taken + waiting.job.memory_bytes > self._limits.memory_bytes:
                continue
            self._waiting.remove(waiting)
            self._start(waiting)

    def _start(self, waiting: _Waiting) -> None:
        folder = self._cache.staging()
        waiting.attempts += 1
        arguments = (self._perform, waiting.job, waiting.original, folder, self._limits.threads)
        process = self._origin().Process(target=_child, args=arguments, daemon=True, name=waiting.job.name)
        process.start()
        self._running.append(_Running(waiting, process, folder, time.monotonic()))

    def _origin(self) -> ForkServerContext | SpawnContext:
        """Where processes come from; begun when first asked for."""
        if self._context is None:
            self._context = _context(self._limits.threads, self._preload)
        return self._context

    def _look(self) -> None:
        for one in tuple(self._running):
            if not one.process.is_alive():
                self._end(one, self._outcome_of(one))
            elif time.monotonic() - one.started > self._limits.seconds:
                _kill(one.process)
                self._end(one, _failed(f"took more than {self._limits.seconds:g} s", "give it more with --seconds"))
        for one in self._running:
            one.seen_bytes = resident_bytes(one.process.pid or 0)
        if sum(one.seen_bytes for one in self._running) > self._limits.memory_bytes:
            self._make_room()

    def _make_room(self) -> None:
        youngest = max(self._running, key=lambda one: one.started)
        _kill(youngest.process)
        if len(self._running) == 1:
            what = f"took more than {self._limits.memory_bytes / 1e9:.1f} GB of memory with nothing beside it"
            self._end(youngest, _failed(what, "raise --memory, or make it on a machine that has more"))
            return
        self._put_back(youngest, int(youngest.seen_bytes * _MORE))
        youngest.waiting.attempts -= 1

    def _outcome_of(self, one: _Running) -> Outcome | None:
        """What the process left; None where it died and gets another attempt."""
        one.process.join()
        with contextlib.suppress(OutputError):
            return read_outcome(one.folder)
        code = one.process.exitcode or 0
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit status {code}"
        if one.waiting.attempts < ATTEMPTS:
            return None
        return crashed(f"died {ATTEMPTS} times ({name}){_tail(one.folder / LOG)}")

    def _end(self, one: _Running, outcome: Outcome | None) -> None:
        if outcome is None:
            self._put_back(one, one.waiting.job.memory_bytes)
            return
        self._running.remove(one)
        (one.folder / LOG).unlink(missing_ok=True)
        self._ended.append(Done(one.waiting.job, outcome, one.folder))

    def _put_back(self, one: _Running, memory_bytes: int) -> None:
        self._running.remove(one)
        self._cache.drop(one.folder)
        job = one.waiting.job
        one.waiting.job = replace(job, memory_bytes=max(job.memory_bytes, memory_bytes))
        self._waiting.insert(0, one.waiting)


def _failed(what: str, hint: str) -> Outcome:
    return Outcome(failure=Failure(BudgetError.kind, BudgetError.exit_code, what, hint))


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
    return ""


def _context(threads: int, preload: Sequence[str]) -> ForkServerContext | SpawnContext:
    """Where processes come from: forked from a server that has imported everything, or new ones on Windows."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _environment(dict.fromkeys(_THREAD_VARIABLES, str(threads))):  # read once, when the libraries are loaded
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _kill(process: BaseProcess) -> None:
    """End a process and those that it started, such as a training."""
    if process.pid is not None and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended, or has no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _child(perform: Perform, job: Job, original: Path | None, folder: Path, threads: int) -> None:
    """In the new process."""
    if hasattr(os, "setsid"):
        os.setsid()  # a terminal's interrupt is for the parent, which ends us; and it can end our children with us
    threading.Thread(target=_die_with_parent, daemon=True).start()
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):  # libraries print; standard output belongs to the parent's result
        os.dup2(log, stream)
    perform(job, original, folder, threads)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
