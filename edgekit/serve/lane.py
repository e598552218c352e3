"""A bundle's queue: requests that wait are asked together, and never one held back while the bundle is idle.

While a call runs, further requests gather; the next call takes as many of them as may share one. So batches grow
with the load by themselves, and a lone request waits for nobody (unless ``wait_s`` says so). How many calls run at a
time, and with how many threads each, is :mod:`edgekit.serve.width`'s to say.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from edgekit.errors import EdgekitError
from edgekit.serve.failures import RefusedError
from edgekit.serve.jobs import Ask, Job, Settled, hand_back, results_of
from edgekit.serve.width import Turn, Widths

Watch = Callable[[int, float], None]
"""Told of each call: its inputs and its seconds."""

_Result = TypeVar("_Result")
_CLOSE_S: Final = 5.0


class Lane:
    """Threads that ask one bundle, and the queue before them.

    Args:
        name: Of the bundle, for its threads' names.
        widths: Says when a call may begin, and whom it asks.
        max_batch: Inputs of several requests that share a call; 1 where batches are no faster.
        wait_s: How long a request may be held back until others join it, at most.
        queue_s: How long a request may wait for its turn.
        watch: Told of every call.
        clock: Seconds.
    """

    def __init__(  # noqa: PLR0913 - each is one choice of whoever serves it
        self,
        name: str,
        widths: Widths,
        *,
        max_batch: int = 1,
        wait_s: float = 0.0,
        queue_s: float,
        watch: Watch,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.max_batch = max_batch
        self._widths = widths
        self._wait_s = wait_s
        self._queue_s = queue_s
        self._watch = watch
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"edgekit-{name}-{number}", daemon=True)
            for number in range(widths.calls)
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
            ask: Asks the model that it is given.
            items: The inputs.
            options: Of the call.
            key: What tells calls apart that may not be one; None for one that always stands alone.

        Raises:
            EdgekitError: What the model raised.
            RefusedError: The turn did not come in time (503).
        """
        answers: Sequence[Any] = await self._put(Job(self._clock(), None, ask, items, options, key))
        return answers

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Call something in one of the threads, in its turn: a step of a stream.

        Raises:
            RefusedError: The turn did not come in time (503).
        """
        result: _Result = await self._put(Job(self._clock(), call))
        return result

    def later(self, call: Callable[[], None]) -> None:
        """Call something in one of the threads, in its turn, without waiting for it: to clean up."""
        with self._changed:
            if not self._closed:
                self._add(Job(self._clock(), call))

    def close(self) -> None:
        """Let the threads end; what still waits is not done any more."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_S)

    def _put(self, job: Job) -> asyncio.Future[Any]:
        with self._changed:
            if self._closed:
                raise RefusedError("this service is shutting down", status=503, kind="overloaded")
            self._add(job)
        return job.future

    def _add(self, job: Job) -> None:
        self._jobs.append(job)
        if self._wait_s:
            self._changed.notify_all()  # the one that is woken might be one that waits for others to join it
        elif self._widths.free:
            self._changed.notify()

    def _work(self) -> None:
        while taken := self._take():
            jobs, turn = taken
            try:
                late = [job for job in jobs if self._clock() - job.since > self._queue_s]
                hand_back([(job, None, self._late()) for job in late])
                settled = self._do([job for job in jobs if job not in late and not job.future.cancelled()], turn)
            finally:
                with self._changed:
                    self._widths.end(turn)
            hand_back(settled)  # not before: whoever has an answer may ask again at once, and finds the bundle idle
            del taken, jobs, late, settled  # or the last request's memory is held until the next one comes

    def _take(self) -> tuple[list[Job], Turn] | None:
        """The next job, with those that may share its call, and who is asked; None when closed."""
        with self._changed:
            while not (self._jobs and self._widths.free) and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            turn = self._widths.begin(len(self._jobs), sum(max(1, len(job.items)) for job in self._jobs))
            taken = [self._jobs.popleft()]
            if taken[0].key is not None and self.max_batch > 1:
                self._gather(taken, turn)
            if self._jobs and self._widths.free:
                self._changed.notify()  # there is work for another
            return taken, turn

    def _gather(self, taken: list[Job], turn: Turn) -> None:
        """Add those that may share the first one's call, and wait for more where that is wanted."""
        room = self.max_batch if self._wait_s else min(self.max_batch, turn.share)
        until = taken[0].since + self._wait_s
        while self._join(taken, room) and (left := until - self._clock()) > 0 and not self._closed:
            self._changed.wait(left)

    def _join(self, taken: list[Job], room: int) -> bool:
        """Move jobs of the same key over, up to so many inputs; whether there is room for more."""
        room -= sum(len(job.items) for job in taken)
        left: list[Job] = []
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            if job.key == taken[0].key and len(job.items) <= room:
                taken.append(job)
                room -= len(job.items)
            else:
                left.append(job)
        self._jobs.extendleft(reversed(left))
        return room > 0

    def _do(self, jobs: list[Job], turn: Turn) -> list[Settled]:
        if not jobs:
            return []
        began = self._clock()
        try:
            results = results_of(jobs, turn.model, self.max_batch)
        except Exception as error:  # noqa: BLE001 - it is raised where the request is answered
            if isinstance(error, EdgekitError) and len(jobs) > 1:  # one of them is at fault: the others are not
                return [settled for job in jobs for settled in self._do([job], turn)]
            return [(job, None, error) for job in jobs]
        self._watch(sum(len(job.items) for job in jobs), self._clock() - began)
        return [(job, result, None) for job, result in zip(jobs, results, strict=True)]

    def _late(self) -> RefusedError:
        return RefusedError(
            f"the request waited longer than {self._queue_s:g} s for its turn",
            status=503,
            kind="overloaded",
            hint="ask again a little later",
        )
