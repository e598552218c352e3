"""Search: of the candidates that stay within the budget, the one that is best at what was asked for.

``latency`` is measured on this machine where it is a device of the target, the candidates taking turns; elsewhere the
order of the recipes stands for it, the cheapest first (:mod:`.recipes`). Two times nearer than
:data:`SAME` are the same: then the closer answers decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekit.runtime.model import Model
from edgekit.runtime.timing import time_calls
from edgekit.spec.manifest import Variant
from edgekit.stages.evidence import Trial
from edgekit.stages.predicted_gain import Prediction

SAME: Final = 0.03  # of a time: less is noise on a shared machine
ROUNDS: Final = 15
INPUTS: Final = 4  # golden cases, the first of them


@dataclass(frozen=True, slots=True)
class Candidate:
    """One variant that was made and judged.

    Attributes:
        variant: As it would ship.
        trial: The verdict.
        latency_ms: Of :data:`INPUTS` golden inputs, one after the other, median; None where it was not measured.
    """

    variant: Variant
    trial: Trial
    latency_ms: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it may ship: it did not fail."""
        return self.trial.parity.verdict != "fail"

    @property
    def agreement(self) -> float:
        """The headline agreement's lower bound; 0 where none was measured."""
        return next((check.measured for check in self.trial.parity.checks if "agreement" in check.name), 0.0)


@dataclass(frozen=True, slots=True)
class Search:
    """What was found for one group of targets.

    Attributes:
        candidates: All, those that failed too, in the documented order of cost, the cheapest first.
        chosen: The best that passed, and why; None where none passed.
        predicted: What int8 was expected to bring, where this machine could tell.
    """

    candidates: tuple[Candidate, ...]
    chosen: tuple[Candidate, str] | None
    predicted: Prediction | None = None

    @property
    def best(self) -> tuple[Variant, Trial] | None:
        """What ships."""
        return (self.chosen[0].variant, self.chosen[0].trial) if self.chosen else None

    @property
    def left(self) -> list[Trial]:
        """What does not."""
        best = self.chosen[0] if self.chosen else None
        return [one.trial for one in self.candidates if one is not best]


def measure(models: Mapping[str, Model]) -> dict[str, float]:
    """Median milliseconds that each open model takes for its golden inputs, in turns."""
    inputs = {name: [case.input for case in model.golden()[:INPUTS]] for name, model in models.items()}

    def call(name: str) -> None:
        for item in inputs[name]:
            models[name].raw([item])

    times = time_calls({name: lambda name=name: call(name) for name in models}, rounds=ROUNDS)  # type: ignore[misc]
    return {name: sample.median_ms for name, sample in times.items()}


def choose(candidates: Sequence[Candidate], objective: str) -> Search:
    """The best of those that passed.

    Args:
        candidates: In the documented order of cost, the cheapest first.
        objective: One of :data:`.request.OBJECTIVES`.
    """
    passed = [one for one in candidates if one.passed]
    return Search(tuple(candidates), _best(passed, objective) if passed else None)


def _best(passed: Sequence[Candidate], objective: str) -> tuple[Candidate, str]:
    order = {one.variant.name: place for place, one in enumerate(passed)}
    measured = all(one.latency_ms is not None for one in passed)

    def cost(candidate: Candidate) -> float:
        return candidate.latency_ms or 0.0 if measured else float(order[candidate.variant.name])

    if objective == "size":
        best = min(passed, key=lambda one: (one.trial.size_bytes, cost(one)))
        return best, f"the smallest that passes, {best.trial.size_bytes / 1e6:.1f} MB"
    if objective == "accuracy":
        best = max(passed, key=lambda one: (round(one.agreement, 3), -cost(one)))
        return best, f"the closest to the original, agreement {best.agreement:.4f}"
    if not measured:
        return passed[0], "the first in the order of cost: this machine is no device of the target"
    fastest = min(cost(one) for one in passed)
    best = max((one for one in passed if cost(one) <= fastest * (1 + SAME)), key=lambda one: one.agreement)
    near = " to within noise, and the closest of those" if cost(best) > fastest else ""
    return best, f"the fastest that passes{near}, {cost(best):.1f} ms for {INPUTS} golden inputs"


def table(searches: Sequence[Search], objective: str | None) -> dict[str, Any]:
    """The search as evidence: every candidate, whether another beats it in everything, and what was chosen."""
    if objective is None:
        return {}
    rows = [_row(one, search) for search in searches for one in search.candidates]
    timed = any("latency_ms" in row for row in rows)
    predicted = [search.predicted.to_json() for search in searches if search.predicted]
    return {"search": {"objective": objective, "timed": timed, "predicted": predicted, "candidates": rows}}


def _row(one: Candidate, search: Search) -> dict[str, Any]:
    row: dict[str, Any] = {
        "recipe": one.trial.recipe,
        "targets": list(one.trial.targets),
        "verdict": one.trial.parity.verdict,
        "agreement": round(one.agreement, 6),
        "size_bytes": one.trial.size_bytes,
        "pareto": one.passed and not _beaten(one, search.candidates),
        "reason": "",
    }
    if one.latency_ms is not None:
        row["latency_ms"] = round(one.latency_ms, 3)
    if search.chosen and search.chosen[0] is one:
        row["reason"] = search.chosen[1]
    return row


def _beaten(one: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether another that passed is no worse in anything and better in something."""
    own = _scores(one)
    rivals = [_scores(other) for other in others if other is not one and other.passed]
    return any(all(a >= b for a, b in zip(rival, own, strict=True)) and rival != own for rival in rivals)


def _scores(candidate: Candidate) -> tuple[float, float, float]:
    return candidate.agreement, -candidate.trial.size_bytes, -(candidate.latency_ms or 0.0)
