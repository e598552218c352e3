"""What waits in a bundle's queue, and how its result comes back to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Ask = Callable[[Any, list[Any], Mapping[str, Any], int], Sequence[Any]]
"""Asks a model, one or another of the same bundle: inputs, options, and how many may share a batch; one answer each."""


@dataclass(slots=True, eq=False)
class Job:
    """Something to do for one request.

    Attributes:
        since: When it came, in seconds of the lane's clock.
        call: To be called; None where a model is asked.
        ask: Asks the model whose turn it is; None where there is a call.
        items: The inputs.
        options: Of the question.
        key: Jobs of one key may share a call; None stands alone.
        future: Where the result goes.
    """

    since: float
    call: Callable[[], Any] | None = None
    ask: Ask | None = None
    items: list[Any] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    future: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Settled: TypeAlias = tuple[Job, Any, BaseException | None]
"""A job with its result, or with its error."""


def results_of(jobs: Sequence[Job], model: Any, max_batch: int) -> list[Any]:
    """The results of jobs that share a call."""
    first = jobs[0]
    if first.call is not None:
        return [first.call()]
    if first.ask is None:
        raise TypeError("a job has neither a call nor a question")
    items = first.items if len(jobs) == 1 else [item for job in jobs for item in job.items]
    answers = first.ask(model, items, first.options, max_batch)
    if len(answers) != len(items):
        raise TypeError(f"{len(answers)} answers to {len(items)} inputs")
    results, place = [], 0
    for job in jobs:
        results.append(answers[place : place + len(job.items)])
        place += len(job.items)
    return results


def hand_back(settled: Sequence[Settled]) -> None:
    """Give results to those who wait, in the loops that they wait in."""
    loops = {job.future.get_loop() for job, _, _ in settled}
    for loop in loops:  # one, but in tests
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, [entry for entry in settled if entry[0].future.get_loop() is loop])


def _settle(settled: list[Settled]) -> None:
    for job, result, error in settled:
        if job.future.done():  # whoever asked is gone
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
