"""Parity: budgets, intervals and verdicts. Pure arithmetic; the measuring is in the stages.

A verdict is taken on the worse end of a 95 % confidence interval, and a measurement that cannot
tell (too few samples, a reference that answers at chance level) is ``unproven``, never ``pass``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edgekit.errors import UsageError
from edgekit.spec.reader import Table, nearest
from edgekit.spec.spread import Spread

Z95: Final = 1.959963984540054  # two-sided 95 %
LARGEST: Final = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Budget:
    """What a variant may differ from the reference.

    Attributes:
        samples_min: Fewer judged inputs than this are ``unproven``.
        limits: Bounds by name: at least where the name ends with ``_min``, at most where it ends with ``_max``.
            See :data:`BUDGETS` for their meanings.
    """

    samples_min: int
    limits: Mapping[str, float]


# One table, by measure (see edgekit.spec.task) and precision. A float graph is only a rewrite of the model: it gets
# no room for loss (its agreement bound is what 100 inputs without a single miss can prove).
#
# mean_cosine_min       mean cosine with the reference's vectors, lower 95 % bound
# neighbours_min        share of inputs with the reference's nearest neighbour, lower 95 % bound
# norm_ratio_max        mean deviation of the vectors' length ratio from 1
# length_cosine_min     mean cosine in each range of lengths
# batch_cosine_min      cosine between the answer to an input alone and in any batch
# agreement_min         share of choices that are the reference's, lower 95 % bound
# shift_max             mean total-variation distance of the probabilities, upper 95 % bound
# batch_agreement_min   least agreement of the answer to an input alone and in any batch
# accuracy_drop_max     share of right choices lost, where right ones are known, upper 95 % bound
# perplexity_ratio_max  perplexity of the right choices over the reference's, upper 95 % bound
BUDGETS: Final[dict[str, dict[str, Budget]]] = {
    "vectors": {
        "float32": Budget(100, {"mean_cosine_min": 0.99999, "neighbours_min": 0.96, "norm_ratio_max": 1e-3,
                                "length_cosine_min": 0.99999, "batch_cosine_min": 0.99999}),
        "float16": Budget(100, {"mean_cosine_min": 0.9995, "neighbours_min": 0.95, "norm_ratio_max": 0.005,
                                "length_cosine_min": 0.999, "batch_cosine_min": 0.999}),
        "int8": Budget(100, {"mean_cosine_min": 0.99, "neighbours_min": 0.90, "norm_ratio_max": 0.02,
                             "length_cosine_min": 0.98, "batch_cosine_min": 0.99}),
    },
    "decisions": {
        "float32": Budget(100, {"agreement_min": 0.96, "shift_max": 1e-3, "batch_agreement_min": 0.999,
                                "accuracy_drop_max": 0.001}),
        "float16": Budget(100, {"agreement_min": 0.955, "shift_max": 0.01, "batch_agreement_min": 0.98,
                                "accuracy_drop_max": 0.01}),
        "int8": Budget(100, {"agreement_min": 0.95, "shift_max": 0.05, "batch_agreement_min": 0.90,
                             "accuracy_drop_max": 0.02}),
    },
    "language": {
        "float32": Budget(30, {"agreement_min": 0.88, "shift_max": 1e-3, "batch_agreement_min": 0.999,
                               "perplexity_ratio_max": 1.001}),
        "float16": Budget(30, {"agreement_min": 0.87, "shift_max": 0.01, "batch_agreement_min": 0.95,
                               "perplexity_ratio_max": 1.005}),
        "int8": Budget(30, {"agreement_min": 0.85, "shift_max": 0.05, "batch_agreement_min": 0.80,
                            "perplexity_ratio_max": 1.02}),
        "int4": Budget(30, {"agreement_min": 0.75, "shift_max": 0.15, "batch_agreement_min": 0.60,
                            "perplexity_ratio_max": 1.05}),
    },
}  # fmt: skip


def with_limits(budgets: Mapping[str, Budget], limits: Mapping[str, float]) -> dict[str, Budget]:
    """Budgets with other bounds in the place of theirs.

    Args:
        budgets: By precision.
        limits: Bounds by name. Precisions that have no such bound are left as they are, and so is ``float32``, which
            is only a rewrite of the model.

    Raises:
        UsageError: No precision has a bound of that name.
    """
    names = tuple(dict.fromkeys(name for budget in budgets.values() for name in budget.limits))
    for name in limits:
        if name not in names:
            raise UsageError(
                f"{name!r} is no bound of this task's budget",
                hint=nearest(name, names) or f"bounds: {', '.join(names)}",
            )
    return {
        precision: budget
        if precision == "float32"
        else replace(
            budget, limits={**budget.limits, **{name: limits[name] for name in limits if name in budget.limits}}
        )
        for precision, budget in budgets.items()
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
            "estimate": _written(self.estimate),
            "low": _written(self.low),
            "high": _written(self.high),
            "samples": self.samples,
        }

    @classmethod
    def read(cls, table: Table) -> Interval:
        """What :meth:`to_json` gives.

        Raises:
            RecordError: It is something else.
        """
        return cls(
            estimate=table.number("estimate"),
            low=_read(table.number("low")),
            high=_read(table.number("high")),
            samples=table.integer("samples"),
        )


def _written(value: float) -> float:
    """Six digits. JSON has no infinity, which the interval of one sample reaches: the largest float stands for it."""
    return value if math.isnan(value) else round(max(-LARGEST, min(LARGEST, value)), 6)


def _read(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with the normal-approximation interval (Student's t is within 1 % of it from 100 samples on)."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = Z95 * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half, count)


def share_interval(hits: float, count: int) -> Interval:
    """Share of hits with Wilson's score interval (Wilson 1927, JASA 22:209).

    Args:
        hits: How many; a fraction where each sample is itself a share.
        count: Independent samples.
    """
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
            "measured": _written(self.measured),
            "bound": self.bound,
            "passed": self.passed,
        }
        if self.interval:
            document["interval"] = self.interval.to_json()
        return document

    @classmethod
    def read(cls, table: Table) -> Check:
        """What :meth:`to_json` gives.

        Raises:
            RecordError: It is something else.
        """
        return cls(
            name=table.string("name"),
            measured=_read(table.number("measured")),
            bound=table.number("bound"),
            passed=table.boolean("passed"),
            interval=Interval.read(table.table("interval")) if "interval" in table else None,
        )


@dataclass(frozen=True, slots=True)
class Parity:
    """The verdict on one variant: ``pass``, ``fail`` or ``unproven``, with the checks behind it.

    ``spread`` tells how single inputs fared, where answers could be compared one by one.
    """

    verdict: str
    reason: str
    checks: tuple[Check, ...]
    spread: Spread | None = None

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
            **({"spread": self.spread.to_json()} if self.spread else {}),
        }

    @classmethod
    def read(cls, table: Table) -> Parity:
        """What :meth:`to_json` gives.

        Raises:
            RecordError: It is something else.
        """
        return cls(
            verdict=table.string("verdict"),
            reason=table.string("reason", max_length=1 << 16),
            checks=tuple(Check.read(item) for item in table.tables("checks")),
            spread=Spread.read(table.table("spread")) if "spread" in table else None,
        )


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
