"""Latency of calls in this process, measured so that they can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from edgekit.errors import UsageError

# A percentile from fewer samples is mostly its own noise, so it is not given.
LEAST_SAMPLES: Final = {90: 64, 95: 130, 99: 662}

Durations: TypeAlias = Mapping[str, Sequence[float]]
"""Milliseconds in the order taken, by what took them."""


Clock: TypeAlias = Callable[[], int]
"""Nanoseconds: ``time.perf_counter_ns``, or ``time.process_time_ns``, which stands while others have the CPU."""


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

    def percentiles_ms(self) -> dict[str, float]:
        """Those that there are samples enough for, as ``{"p90_ms": …}``."""
        known = {f"p{percent}_ms": self.percentile_ms(percent) for percent in LEAST_SAMPLES}
        return {name: value for name, value in known.items() if value is not None}


def clock_ms(call: Callable[[], object], clock: Clock = time.perf_counter_ns) -> float:
    """How long one call takes."""
    began = clock()
    call()
    return (clock() - began) / 1e6


def time_calls(calls: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 3) -> dict[str, Sample]:
    """Time each call once a round; see :func:`take_turns`.

    Raises:
        UsageError: There is nothing to time.
    """
    found = take_turns(
        {name: lambda call=call: {"": [clock_ms(call)]} for name, call in calls.items()},  # type: ignore[misc]
        rounds=rounds,
        warmup=warmup,
    )
    return {name: samples[""] for name, samples in found.items()}


def take_turns(
    contestants: Mapping[str, Callable[[], Durations]], *, rounds: int, warmup: int = 3
) -> dict[str, dict[str, Sample]]:
    """Ask each contestant once a round for what it took, the rounds starting with another one each.

    Interleaving lets a slow phase of the machine hit all alike; rotating takes away the advantage of coming after the
    same neighbour.

    Args:
        contestants: What to ask, by name.
        rounds: At least 1.
        warmup: Rounds run before, not counted.

    Returns:
        By contestant, and by what took the time.

    Raises:
        UsageError: There is nothing to time.
    """
    if not contestants or rounds < 1 or warmup < 0:
        raise UsageError(f"nothing to time: {len(contestants)} calls, {rounds} rounds, {warmup} of warm-up")
    names = list(contestants)
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for number in range(-warmup, rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            durations = contestants[name]()
            for what, values in durations.items() if number >= 0 else ():
                taken[name].setdefault(what, []).extend(values)
    return {name: {what: Sample(tuple(values)) for what, values in found.items()} for name, found in taken.items()}
