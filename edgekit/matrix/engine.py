"""What runs jobs: worker processes on this machine (:mod:`.processes`), or a Ray cluster (:mod:`.on_ray`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from edgekit.matrix.outcome import CRASH, Failure, Outcome
from edgekit.matrix.work import Job


@dataclass(frozen=True, slots=True)
class Done:
    """A job that ended.

    Attributes:
        job: Which.
        outcome: What came of it.
        folder: Its files, in a staging folder of the cache; the receiver adds or drops it.
    """

    job: Job
    outcome: Outcome
    folder: Path


class Engine(Protocol):
    """Runs jobs side by side. It is used from one thread, and as a context manager that ends what still runs."""

    def submit(self, job: Job, original: Path | None) -> None:
        """Start a job, now or when there is room; ``original`` is a folder of this machine."""

    def running(self) -> tuple[str, ...]:
        """Names of the jobs that are being done now, as far as is known."""

    def wait(self, seconds: float) -> Done | None:
        """The next job that ended; None where none did within the time."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(self, *error: object) -> None:
        """End everything that still runs, and wait for its end."""


def crashed(what: str) -> Outcome:
    """The outcome of a job whose process did not live to tell one."""
    return Outcome(
        failure=Failure(
            CRASH, 1, f"its process {what}", "if its memory ran out, set memory_mb of the model, or run fewer at once"
        )
    )
