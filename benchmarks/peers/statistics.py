"""Medians with exact intervals, and ratios of runs that stood beside each other. Standard library only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Median:
    """A median with an interval made of two order statistics.

    Attributes:
        value: Of the sample.
        low: The interval's lower end.
        high: Its upper end.
        coverage: How sure it is that the interval holds the median of what was sampled, whatever the distribution;
            under :data:`CONFIDENCE` where there are fewer than six values.
        count: Values in the sample.
    """

    value: float
    low: float
    high: float
    coverage: float
    count: int


def median(values: Sequence[float]) -> Median:
    """The median with the narrowest symmetric interval that covers it with :data:`CONFIDENCE`.

    The number of values under the true median is binomial(n, 1/2), so that the k-th least and the k-th greatest value
    enclose it with a probability of 1 - 2 P(X < k): no assumption about the distribution, and no random resampling.

    Raises:
        ValueError: There is no value.
    """
    if not values:
        raise ValueError("the median of no values")
    ordered, count = sorted(values), len(values)
    rank = 1
    while rank + 1 <= (count + 1) // 2 and _coverage(count, rank + 1) >= CONFIDENCE:
        rank += 1
    coverage = _coverage(count, rank)
    return Median(statistics.median(ordered), ordered[rank - 1], ordered[count - rank], coverage, count)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Median:
    """``ours / theirs``, replicate by replicate, since those ran beside each other.

    Raises:
        ValueError: They are not equally many, or there are none.
    """
    return median([mine / other for mine, other in zip(ours, theirs, strict=True)])


def share(hits: int, count: int) -> tuple[float, float]:
    """The Wilson interval of a share of ``count`` independent cases, with :data:`CONFIDENCE`.

    Raises:
        ValueError: There is no case, or there are more hits than cases.
    """
    if count < 1 or not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no share")
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share_, bend = hits / count, z * z / count
    middle = (share_ + bend / 2) / (1 + bend)
    half = z * math.sqrt(share_ * (1 - share_) / count + bend / (4 * count)) / (1 + bend)
    return max(0.0, middle - half), min(1.0, middle + half)


def _coverage(count: int, rank: int) -> float:
    return 1 - 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count
