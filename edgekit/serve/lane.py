"""A bundle's queue: requests that wait are asked together, and never one held back while the bundle is idle.

While a call runs, further requests gather; the next call takes as many of them as may share one. So batches grow
with the load by themselves, and a lone request waits for nobody (unless ``wait_s`` says so).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from edgekit.errors import EdgekitError
from edgekit.serve.failures import RefusedError

Ask = Callable[[list[Any], Mapping[str, Any], int], Sequence[Any]]
"""Answers, one for each of some inputs: given inputs, options, and how many may share a batch."""

Watch = Callable[[int, float], None]
"""Told of each call: its inputs and its seconds."""

_Result = TypeVar("_Result")
_CLOSE_S: Final = 5.0


@dataclass(slots=True, eq=False)
class _Job:
    """Something to do for one request."""

    call: Callable[[], Any] | None
    ask: Ask | None
    items: list[Any]
    options: Mapping[str, Any]
    key: str | None  # jobs of one key may share a call
    future: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)


_Settled: TypeAlias = tuple[_Job, Any, BaseException | None]


class Lane:
    """Threads that ask one bundle, and the queue before them.

    Args:
        name: Of the bundle, for its threads' names.
        calls: Calls at a time.
        max_batch: Inputs of several requests that share a call; 1 where batches are no faster.
        wait_s: How long a request may be held back until others join it, at most.
        queue_s: How long a request may wait for its turn.
        watch: Told of every call.
    """

    def __init__(
        self, name: str, *, calls: int = 1, max_batch: int = 1, wait_s: float = 0.0, queue_s: float, watch: Watch
    ) -> None:
        self.max_batch = max_batch
        self._wait_s = wait_s
        self._queue_s = queue_s
        self._watch = watch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"edgekit-{name}-{number}", daemon=True) for number in range(calls)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests that nobody works on yet."""
        return len(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether there is somebody to work."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    async def ask(self, ask: Ask, items: list[Any], options: Mapping[str, Any], *, key: str | None) -> Sequence[Any]:
        """Answers to inputs, one each.

        Args:
            ask: Asks the model.
            items: The inputs.
            options: Of the call.
            key: What tells calls apart that may not be one; None for one that always stands alone.

        Raises:
            EdgekitError: What the model raised.
            RefusedError: The turn did not come in time (503).
        """
        loop = asyncio.get_running_loop()
        job = _Job(None, ask, items, options, key, loop.create_future())
        self._put(job)
        answers: Sequence[Any] = await job.future
        return answers

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Call something in one of the threads, in its turn: a step of a stream.

        Raises:
            RefusedError: The turn did not come in time (503).
        """
        job = _Job(call, None, [], {}, None, asyncio.get_running_loop().create_future())
        self._put(job)
        result: _Result = await job.future
        return result

    def later(self, call: Callable[[], None]) -> None:
        """Call something in one of the threads, in its turn, without waiting for it: to clean up."""
        with self._changed:
            if not self._closed:
                future = asyncio.get_running_loop().create_future()
                self._jobs.append(_Job(call, None, [], {}, None, future))
                self._changed.notify()

    def close(self) -> None:
        """Let the threads end; what still waits is not done any more."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_S)

    def _put(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise RefusedError("this service is shutting down", status=503, kind="overloaded")
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        while jobs := self._take():
            late = [job for job in jobs if time.monotonic() - job.since > self._queue_s]
            settled: list[_Settled] = [(job, None, self._late()) for job in late]
            settled += self._do([job for job in jobs if job not in late and not job.future.cancelled()])
            _hand_back(settled)
            del jobs, late, settled  # or the last request's memory is held until the next one comes

    def _take(self) -> list[_Job]:
        """The next job, with those that may share its call; none when closed."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            taken = [self._jobs.popleft()]
            if taken[0].key is None or self.max_batch == 1:
                return taken
            until = taken[0].since + self._wait_s
            while self._join(taken) and (left := until - time.monotonic()) > 0 and not self._closed:
                self._changed.wait(left)
            return taken

    def _join(self, taken: list[_Job]) -> bool:
        """Move jobs of the same key over; whether there is room for more."""
        room = self.max_batch - sum(len(job.items) for job in taken)
        left: list[_Job] = []
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            if job.key == taken[0].key and len(job.items) <= room:
                taken.append(job)
                room -= len(job.items)
            else:
                left.append(job)
        self._jobs.extendleft(reversed(left))
        return room > 0

    def _do(self, jobs: list[_Job]) -> list[_Settled]:
        if not jobs:
            return []
        began = time.perf_counter()
        try:
            results = self._results(jobs)
        except Exception as error:  # noqa: BLE001 - it is raised where the request is answered
            if isinstance(error, EdgekitError) and len(jobs) > 1:  # one of them is at fault: the others are not
                return [settled for job in jobs for settled in self._do([job])]
            return [(job, None, error) for job in jobs]
        self._watch(sum(len(job.items) for job in jobs), time.perf_counter() - began)
        return [(job, result, None) for job, result in zip(jobs, results, strict=True)]

    def _results(self, jobs: list[_Job]) -> list[Any]:
        first = jobs[0]
        if first.call is not None:
            return [first.call()]
        if first.ask is None:
            raise TypeError("a job has neither a call nor a question")
        items = first.items if len(jobs) == 1 else [item for job in jobs for item in job.items]
        answers = first.ask(items, first.options, self.max_batch)
        if len(answers) != len(items):
            raise TypeError(f"{len(answers)} answers to {len(items)} inputs")
        results, place = [], 0
        for job in jobs:
            results.append(answers[place : place + len(job.items)])
            place += len(job.items)
        return results

    def _late(self) -> RefusedError:
        return RefusedError(
            f"the request waited longer than {self._queue_s:g} s for its turn",
            status=503,
            kind="overloaded",
            hint="ask again a little later",
        )


def _hand_back(settled: list[_Settled]) -> None:
    loops = {job.future.get_loop() for job, _, _ in settled}
    for loop in loops:  # one, but in tests
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, [entry for entry in settled if entry[0].future.get_loop() is loop])


def _settle(settled: list[_Settled]) -> None:
    for job, result, error in settled:
        if job.future.done():  # whoever asked is gone
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
