"""Latency of calls in this process, measured so that they can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edgekit.errors import UsageError

# A percentile from fewer samples is mostly its own noise, so it is not given.
LEAST_SAMPLES: Final = {90: 64, 95: 130, 99: 662}


@dataclass(frozen=True, slots=True)
class Sample:
    """Durations of one call.

    Attributes:
        values_ms: In the order taken, milliseconds.
    """

    values_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The median, milliseconds."""
        return statistics.median(self.values_ms)

    def percentile_ms(self, percent: int) -> float | None:
        """The nearest-rank percentile in milliseconds; None where there are too few samples for it.

        Raises:
            UsageError: ``percent`` is none of :data:`LEAST_SAMPLES`.
        """
        if percent not in LEAST_SAMPLES:
            raise UsageError(f"percentile {percent}: expected one of {', '.join(map(str, LEAST_SAMPLES))}")
        count = len(self.values_ms)
        if count < LEAST_SAMPLES[percent]:
            return None
        return sorted(self.values_ms)[-(-count * percent // 100) - 1]


def time_calls(calls: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 3) -> dict[str, Sample]:
    """Time each call once a round, the rounds starting with another call each.

    Interleaving lets a slow phase of the machine hit all calls alike; rotating takes away the advantage of
    coming after the same neighbour.

    Args:
        calls: What to time, by name.
        rounds: Samples of each call, at least 1.
        warmup: Rounds run before, not timed.

    Raises:
        UsageError: There is nothing to time.
    """
    if not calls or rounds < 1 or warmup < 0:
        raise UsageError(f"nothing to time: {len(calls)} calls, {rounds} rounds, {warmup} of warm-up")
    names = list(calls)
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            call = calls[name]
            began = time.perf_counter_ns()
            call()
            took = time.perf_counter_ns() - began
            if number >= 0:
                values[name].append(took / 1e6)
    return {name: Sample(tuple(taken)) for name, taken in values.items()}
