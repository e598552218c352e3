"""How far a shift of paired values is from zero: exact for any symmetric noise, standard library only.

The estimate is that of Hodges and Lehmann (1963, Annals of Mathematical Statistics 34:598), the median of the means of
all pairs (Walsh averages). Its interval is made of two of these means, chosen by the exact distribution of Wilcoxon's
signed-rank statistic (Hollander, Wolfe and Chicken 2014, sections 3.2 and 3.3): no normality, no resampling, and one
wild value moves it little.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Shift:
    """An estimated shift.

    Attributes:
        estimate: Hodges and Lehmann's.
        low: The true shift lies below it with a probability of ``miss`` at most; ``-inf`` where there are too few
            values to say.
        high: Likewise above it; ``inf``.
        miss: At each end.
        count: How many values it rests on.
    """

    estimate: float
    low: float
    high: float
    miss: float
    count: int


def shift(values: Sequence[float], miss: float) -> Shift:
    """The shift of values that scatter symmetrically around it.

    Args:
        values: Independent of each other, such as differences of pairs.
        miss: Allowed probability that the true shift lies below the interval, and the same above it.

    Raises:
        ValueError: There is no value, one is not finite, or ``miss`` is outside 0 to 0.5.
    """
    if not values or not all(map(math.isfinite, values)) or not 0 < miss < 0.5:
        raise ValueError(f"no shift of {len(values)} values, missed by {miss}")
    averages = walsh_averages(values)
    rank = _rank(len(values), miss)
    low, high = (averages[rank - 1], averages[-rank]) if rank else (-math.inf, math.inf)
    return Shift(statistics.median(averages), low, high, miss, len(values))


def walsh_averages(values: Sequence[float]) -> list[float]:
    """The means of all pairs, each value paired with itself too, in ascending order."""
    return sorted((a + b) / 2 for place, a in enumerate(values) for b in values[place:])


def signed_rank_tail(count: int, statistic: int) -> float:
    """The probability that Wilcoxon's signed-rank statistic of ``count`` values is at most ``statistic``."""
    return sum(_signed_rank_counts(count)[: max(0, statistic + 1)]) / (1 << count)


def _rank(count: int, miss: float) -> int:
    """How many averages from either end the interval starts; 0 where even the outermost are too near."""
    # The k-th least average lies above the true shift just when the statistic is below k.
    rank = 0
    while rank < count * (count + 1) // 4 and signed_rank_tail(count, rank) <= miss:
        rank += 1
    return rank


@cache
def _signed_rank_counts(count: int) -> tuple[int, ...]:
    """By value of the statistic: how many of the ``2 ** count`` choices of signs give it."""
    counts = [1]
    for rank in range(1, count + 1):
        longer = counts + [0] * rank
        for place, number in enumerate(counts):
            longer[place + rank] += number
        counts = longer
    return tuple(counts)
