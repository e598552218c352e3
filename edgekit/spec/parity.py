"""Parity: budgets, intervals and verdicts. Pure arithmetic; the measuring is in the stages.

A verdict is taken on the worse end of a 95 % confidence interval, and a measurement that cannot
tell (too few samples, a reference that answers at chance level) is ``unproven``, never ``pass``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

Z95: Final = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, slots=True)
class Budget:
    """What a variant may differ from the reference for embeddings.

    Attributes:
        mean_cosine_min: Least mean cosine with the reference's vectors (lower 95 % bound).
        agreement_min: Least share of texts with the reference's nearest neighbour (lower 95 % bound).
        norm_ratio_max: Largest mean deviation of the vectors' length ratio from 1.
        batch_cosine_min: Least cosine between the answer to a text alone and in any batch.
        length_cosine_min: Least mean cosine in each range of lengths.
        samples_min: Fewer judged texts than this are ``unproven``.
    """

    mean_cosine_min: float
    agreement_min: float
    norm_ratio_max: float
    batch_cosine_min: float
    length_cosine_min: float
    samples_min: int


# One table, by precision. A float graph is only a rewrite of the model: it gets no room for loss (its
# agreement bound is what 100 texts without a single miss can prove).
BUDGETS: Final[dict[str, Budget]] = {
    "float32": Budget(0.99999, 0.96, 1e-3, 0.99999, 0.99999, 100),
    "int8": Budget(0.99, 0.90, 0.02, 0.99, 0.98, 100),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its two-sided 95 % confidence interval."""

    estimate: float
    low: float
    high: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Rounded to 6 digits: beyond them lies the noise of a CPU's summation order."""
        return {
            "estimate": round(self.estimate, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "samples": self.samples,
        }


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with the normal-approximation interval (Student's t is within 1 % of it from 100 samples on)."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = Z95 * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half, count)


def share_interval(hits: int, count: int) -> Interval:
    """Share of hits with Wilson's score interval (Wilson 1927, JASA 22:209)."""
    share = hits / count
    centre = share + Z95**2 / (2 * count)
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    scale = 1 + Z95**2 / count
    return Interval(share, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale), count)


@dataclass(frozen=True, slots=True)
class Check:
    """One measured quantity against its bound.

    Attributes:
        name: For example ``mean cosine``.
        measured: The value the verdict was taken on (the interval's worse end, where there is one).
        bound: What it was held against.
        passed: Whether it holds.
        interval: The estimate with its interval, where it is one.
    """

    name: str
    measured: float
    bound: float
    passed: bool
    interval: Interval | None = None

    @property
    def undecided(self) -> bool:
        """Whether it does not hold only because its interval is wide: more samples might prove it."""
        return not self.passed and self.interval is not None and self.interval.high >= self.bound

    def to_json(self) -> dict[str, Any]:
        """As evidence, floats rounded to 6 digits."""
        document: dict[str, Any] = {
            "name": self.name,
            "measured": round(self.measured, 6),
            "bound": self.bound,
            "passed": self.passed,
        }
        if self.interval:
            document["interval"] = self.interval.to_json()
        return document


@dataclass(frozen=True, slots=True)
class Parity:
    """The verdict on one variant: ``pass``, ``fail`` or ``unproven``, with the checks behind it."""

    verdict: str
    reason: str
    checks: tuple[Check, ...]

    def check(self, name: str) -> Check:
        """The check of that name.

        Raises:
            KeyError: There is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """As evidence."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "checks": [check.to_json() for check in self.checks],
        }


def judge(checks: Sequence[Check], unproven: Sequence[str]) -> Parity:
    """Combine checks into a verdict: any failed check fails; else any doubt is ``unproven``; else pass.

    Where there is doubt already, a check whose interval is merely too wide adds to it instead of failing.

    Args:
        checks: What was measured.
        unproven: Reasons why the measurement cannot prove anything.
    """
    failed = [check for check in checks if not check.passed and not (unproven and check.undecided)]
    if failed:
        reason = "; ".join(f"{check.name} {check.measured:.4f} against {check.bound:g}" for check in failed)
        return Parity("fail", reason, tuple(checks))
    if unproven:
        return Parity("unproven", "; ".join(unproven), tuple(checks))
    return Parity("pass", "every check holds", tuple(checks))
