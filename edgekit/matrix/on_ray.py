"""Jobs as tasks of a Ray cluster, whose nodes offer devices as custom resources.

What earlier jobs kept travels to the nodes through Ray's object store, and what jobs made travels back, so that the
cache is the driver's alone. Attempts are made here, not by Ray: it would wait for ever for a node that is gone, and
begin a task that takes too much memory again and again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import ray
import ray.exceptions

from edgekit.errors import BudgetError, HostError
from edgekit.matrix import work
from edgekit.matrix.cache import Cache
from edgekit.matrix.engine import Done, crashed
from edgekit.matrix.outcome import Failure, Outcome, read_outcome
from edgekit.matrix.work import Job, Perform

RETRIES: Final = 3
_LOOK_S: Final = 2.0  # between two looks at which nodes live
_GET_S: Final = 60.0  # for what is on this node already
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}  # edgekit sends nothing to anybody; a user's own setting stays

_Files = dict[str, Any]
"""Content by path, as arrays: the object store hands those over without a copy."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A job that is with Ray; ``asked`` is what a node must have."""

    job: Job
    original: Path | None
    asked: Mapping[str, float]
    attempt: int


class RayCluster:
    """An :class:`~edgekit.matrix.engine.Engine` of a Ray cluster.

    A job whose worker or node dies is sent again, :data:`RETRIES` times; one that no living node can do fails at once.

    Args:
        address: Of the cluster; ``RAY_ADDRESS`` where None, and without that a cluster of this machine alone.
        threads: CPUs that a job asks for.
        cache: Whose staging folders results are written into.
        perform: Does a job, on its node.

    Raises:
        HostError: There is no cluster at the address.
    """

    def __init__(self, address: str | None, threads: int, cache: Cache, perform: Perform = work.perform) -> None:
        self._perform = perform
        self._threads = threads
        self._cache = cache
        self._sent: dict[Any, _Sent] = {}  # by the task
        self._kept: dict[Path, Any] = {}
        self._ended: list[tuple[Job, Outcome]] = []
        self._next_look = 0.0
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        address = address or os.environ.get("RAY_ADDRESS")
        started: dict[str, Any] = {"address": address} if address else {"address": "local", "include_dashboard": False}
        try:
            ray.init(**started, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise HostError(
                f"there is no Ray cluster at {address or 'this machine'}: {error}",
                hint="start one with `ray start --head`, and give its address with --address",
            ) from error

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel what still runs, and leave the cluster."""
        for task in tuple(self._sent):
            self._cancel(task)
        ray.shutdown()

    def running(self) -> tuple[str, ...]:
        """Names of the jobs that were sent and are not back."""
        return tuple(sent.job.name for sent in self._sent.values())

    def submit(self, job: Job, original: Path | None) -> None:
        """Send it; Ray starts it on a node that has what it asks for."""
        self._send(job, original, attempt=1)

    def wait(self, seconds: float) -> Done | None:
        """The next job that ended; None where none did within the time."""
        if self._ended:
            job, outcome = self._ended.pop(0)
            return Done(job, outcome, self._cache.staging())
        if not self._sent:
            return None
        ready, _ = ray.wait(list(self._sent), num_returns=1, timeout=seconds)
        if ready:
            return self._receive(ready[0])
        self._look()
        return None

    def _send(self, job: Job, original: Path | None, attempt: int) -> None:
        able = self._able(job, _totals())
        if not able:
            wanted = ", ".join(f"{name}: {count:g}" for name, count in job.resources.items())
            said = f"no node of the cluster offers {wanted}" if wanted else f"no node has {self._threads} CPUs"
            self._ended.append((job, _no_node(said if attempt == 1 else f"{said} any longer")))
            return
        if original is not None and original not in self._kept:
            self._kept[original] = ray.put(_read(original))
        # More than the largest node has would never start; it may take less than it is said to.
        memory = min(job.memory_bytes, int(max(total.get("memory", 0) for total in able)))
        options = {
            "name": job.name,
            "num_cpus": self._threads,
            "memory": memory,
            "resources": dict(job.resources),
            "max_retries": 0,
        }
        kept = self._kept[original] if original is not None else None
        task = ray.remote(_on_node).options(**options).remote(self._perform, job, kept, self._threads)
        asked = {"CPU": self._threads, "memory": memory, **job.resources}
        self._sent[task] = _Sent(job, original, asked, attempt)

    def _receive(self, task: Any) -> Done | None:
        """What a task that ended brought; None where it died and is sent again."""
        folder = self._cache.staging()
        try:
            _write(ray.get(task, timeout=_GET_S), folder)
            outcome = read_outcome(folder)
        except ray.exceptions.RayError as error:
            sent = self._sent.pop(task)
            if sent.attempt <= RETRIES and not isinstance(error, _LASTING):
                self._cache.drop(folder)
                self._send(sent.job, sent.original, sent.attempt + 1)
                return None
            return Done(sent.job, _outcome_of(error, sent.attempt), folder)
        return Done(self._sent.pop(task).job, outcome, folder)

    def _look(self) -> None:
        """Find jobs that Ray would hold back for ever, because the nodes that had what they ask for are gone."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        totals = _totals()
        for task, sent in tuple(self._sent.items()):
            if not any(_offers(total, sent.asked) for total in totals):
                self._cancel(task)
                self._send(sent.job, sent.original, sent.attempt + 1)  # to one with less memory, if there is one

    def _cancel(self, task: Any) -> None:
        del self._sent[task]
        with contextlib.suppress(ray.exceptions.RayError):  # it ended meanwhile
            ray.cancel(task, force=True)

    def _able(self, job: Job, totals: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
        """The nodes that could do a job if nothing else ran there."""
        return [total for total in totals if _offers(total, {"CPU": self._threads, **job.resources})]


# What another attempt would only meet again.
_LASTING: Final = (
    ray.exceptions.RayTaskError,
    ray.exceptions.RuntimeEnvSetupError,
    ray.exceptions.TaskCancelledError,
    ray.exceptions.TaskUnschedulableError,
)


def _outcome_of(error: ray.exceptions.RayError, attempts: int) -> Outcome:
    """Why a job that brings no outcome of its own failed."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return crashed(f"failed: {type(error.cause).__name__}: {error.cause}")
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, ray.exceptions.TaskUnschedulableError):
        return _no_node(first)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        hint = "set memory_mb of the model, or offer a node that has more"
        return Outcome(failure=Failure(BudgetError.kind, BudgetError.exit_code, first, hint))
    return crashed(f"failed: {first}" if isinstance(error, _LASTING) else f"died {attempts} times: {first}")


def _no_node(said: str) -> Outcome:
    hint = "start one with `ray start --address … --resources '{…}'`, or correct resources in the matrix"
    return Outcome(failure=Failure(HostError.kind, HostError.exit_code, said, hint))


def _totals() -> list[Mapping[str, float]]:
    """What each living node offers when nothing runs on it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _offers(total: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(total.get(name, 0) >= count for name, count in wanted.items())


def _on_node(perform: Perform, job: Job, original: _Files | None, threads: int) -> _Files:
    """Do a job in a folder of the node, and give what it left there."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as place:
        kept, folder = Path(place) / "original", Path(place) / "made"
        folder.mkdir()
        if original is not None:
            kept.mkdir()
            _write(original, kept)
        perform(job, kept if original is not None else None, folder, threads)
        return _read(folder)


def _read(folder: Path) -> _Files:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8) for path in files}


def _write(files: _Files, folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)
