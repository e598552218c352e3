"""Jobs as tasks of a Ray cluster, whose nodes offer devices as custom resources.

What earlier jobs kept travels to the nodes through Ray's object store, and what jobs made travels back, so that the
cache is the driver's alone. Ray starts a task again, on another node if need be, when its worker or its node dies.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import ray
import ray.exceptions

from edgekit.errors import HostError
from edgekit.matrix import work
from edgekit.matrix.cache import Cache
from edgekit.matrix.engine import Done, crashed
from edgekit.matrix.outcome import Failure, Outcome, read_outcome
from edgekit.matrix.work import Job, Perform

RETRIES: Final = 3
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}  # edgekit sends nothing to anybody; a user's own setting stays

_Files = dict[str, Any]
"""Content by path, as arrays: the object store hands those over without a copy."""


class RayCluster:
    """An :class:`~edgekit.matrix.engine.Engine` of a Ray cluster.

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
        self._jobs: dict[Any, Job] = {}
        self._sent: dict[Path, Any] = {}
        self._refused: list[tuple[Job, Outcome]] = []
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
        for task in self._jobs:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(task, force=True)
        self._jobs.clear()
        ray.shutdown()

    def running(self) -> tuple[str, ...]:
        """Names of the jobs that were sent and are not back."""
        return tuple(job.name for job in self._jobs.values())

    def submit(self, job: Job, original: Path | None) -> None:
        """Send it; Ray starts it on a node that has what it asks for."""
        fitting = [total for total in _totals() if self._fits(job, total)]
        if not fitting:
            wanted = ", ".join(f"{name}: {count:g}" for name, count in job.resources.items())
            said = f"no node of the cluster offers {wanted}" if wanted else f"no node has {self._threads} CPUs"
            hint = "start one with `ray start --address … --resources '{…}'`, or correct resources in the matrix"
            self._refused.append((job, Outcome(failure=Failure(HostError.kind, HostError.exit_code, said, hint))))
            return
        if original is not None and original not in self._sent:
            self._sent[original] = ray.put(_read(original))
        options = {
            "name": job.name,
            "num_cpus": self._threads,
            # More than the largest node has would never start; it may take less than it is said to.
            "memory": min(job.memory_bytes, int(max(total.get("memory", 0) for total in fitting))),
            "resources": dict(job.resources),
            "max_retries": RETRIES,
        }
        kept = self._sent[original] if original is not None else None
        task = ray.remote(_on_node).options(**options).remote(self._perform, job, kept, self._threads)
        self._jobs[task] = job

    def wait(self, seconds: float) -> Done | None:
        """The next job that came back; None where none did within the time."""
        if self._refused:
            job, outcome = self._refused.pop(0)
            return Done(job, outcome, self._cache.staging())
        if not self._jobs:
            return None
        ready, _ = ray.wait(list(self._jobs), num_returns=1, timeout=seconds)
        if not ready:
            return None
        job = self._jobs.pop(ready[0])
        folder = self._cache.staging()
        try:
            _write(ray.get(ready[0]), folder)
            outcome = read_outcome(folder)
        except ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            outcome = crashed(f"died {RETRIES + 1} times: {first}")
        return Done(job, outcome, folder)

    def _fits(self, job: Job, total: Mapping[str, float]) -> bool:
        wanted = {"CPU": self._threads, **job.resources}
        return all(total.get(name, 0) >= count for name, count in wanted.items())


def _totals() -> list[Mapping[str, float]]:
    """What each living node offers when nothing runs on it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


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
