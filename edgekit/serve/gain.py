"""What is faster for a bundle on this machine, measured before the service starts: batches, and calls side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

SIZES: Final = (1, 4, 16)
WORTH_IT: Final = 1.1  # what a batch must gain, or answers wait for others for nothing
ROUNDS: Final = 5
LIMIT_S: Final = 3.0  # then no further round is begun
ROUND_S: Final = 20.0  # a round that would take longer is cut down to smaller batches
TURN_S: Final = 0.1  # how long one way is tried before the other one has its turn


@dataclass(frozen=True, slots=True)
class Gain:
    """What batches gave.

    Attributes:
        batch: Inputs that are best asked together; 1 where that gains less than :data:`WORTH_IT`.
        by_size: For each size, how many times as many inputs a second as one by one.
        alone_from: Characters of a text from which on it is asked alone, since batches of long texts gain nothing;
            None where they do, or have no length.
    """

    batch: int
    by_size: Mapping[int, float]
    alone_from: int | None = None

    def also(self, long: Gain, characters: int) -> Gain:
        """This gain, of a short text, together with that of a long one of so many characters."""
        if long.by_size.get(self.batch, 1.0) >= WORTH_IT:
            return self
        return replace(self, alone_from=characters // 2)


def measure(ask: Callable[[Sequence[Any], int], Any], one: Any, clock: Callable[[], float] = time.perf_counter) -> Gain:
    """Ask the same inputs in batches of several sizes, which take turns.

    Args:
        ask: Asks inputs in batches of a size.
        one: An input.
        clock: Seconds.
    """
    ask([one], 1)  # what is made once
    began = clock()
    ask([one], 1)
    alone_s = clock() - began
    sizes = [size for size in SIZES if size == 1 or size * len(SIZES) * alone_s <= ROUND_S]
    inputs = [one] * max(sizes)
    took: dict[int, list[float]] = {size: [] for size in sizes}
    began = clock()
    for _ in range(ROUNDS):
        for size in sizes:
            start = clock()
            ask(inputs, size)
            took[size].append(clock() - start)
        if clock() - began > LIMIT_S:
            break
    by_size = {size: round(median(took[1]) / max(median(times), 1e-9), 2) for size, times in took.items()}
    best = max(sizes, key=lambda size: by_size[size])
    return Gain(best if by_size[best] >= WORTH_IT else 1, by_size)


def side_by_side(
    wide: Callable[[], object],
    narrow: Callable[[], object],
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """How many times as many calls a second come out of so many threads as of one; the two take turns.

    Args:
        wide: A call with all threads.
        narrow: The same call with one thread.
        calls: Narrow calls at a time.
        clock: Seconds.

    Returns:
        The ratio; None where the calls are too slow for an answer in a few seconds.
    """
    wide()  # what is made once
    began = clock()
    wide()
    each_s = clock() - began
    if each_s * calls > LIMIT_S:
        return None
    repeats = max(1, min(8, int(TURN_S / max(each_s * calls, 1e-9))))
    took: dict[str, list[float]] = {"wide": [], "narrow": []}
    with ThreadPoolExecutor(calls) as threads:

        def together(times: int) -> None:
            for done in [threads.submit(_repeat, narrow, times) for _ in range(calls)]:
                done.result()

        together(1)  # the threads too are made once
        began = clock()
        for _ in range(ROUNDS):
            start = clock()
            _repeat(wide, repeats * calls)
            took["wide"].append(clock() - start)
            start = clock()
            together(repeats)
            took["narrow"].append(clock() - start)
            if clock() - began > LIMIT_S:
                break
    return round(median(took["wide"]) / max(median(took["narrow"]), 1e-9), 2)


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()
