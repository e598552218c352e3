"""Search: of the candidates that stay within the budget, the one that is best at what was asked for.

``latency`` is measured on this machine where it is a device of the target, the candidates taking turns; elsewhere the
order of the recipes stands for it, which is their order by measured speed (:mod:`.recipes`). Two times nearer than
:data:`SAME` are the same: then the closer answers decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekit.runtime.model import Model
from edgekit.runtime.timing import time_calls
from edgekit.spec.manifest import Variant
from edgekit.spec.parity import Parity
from edgekit.stages.evidence import Trial

OBJECTIVES: Final = ("latency", "size", "accuracy")
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
    def agreement(self) -> float:
        """The headline agreement's lower bound; 0 where none was measured."""
        return next((check.measured for check in self.trial.parity.checks if "agreement" in check.name), 0.0)


@dataclass(frozen=True, slots=True)
class Choice:
    """The best candidate and why it is."""

    candidate: Candidate
    reason: str


def measure(models: Mapping[str, Model]) -> dict[str, float]:
    """Median milliseconds that each open model takes for its golden inputs, in turns."""
    inputs = {name: [case.input for case in model.golden()[:INPUTS]] for name, model in models.items()}

    def call(name: str) -> None:
        for item in inputs[name]:
            models[name].raw([item])

    times = time_calls({name: lambda name=name: call(name) for name in models}, rounds=ROUNDS)  # type: ignore[misc]
    return {name: sample.median_ms for name, sample in times.items()}


def choose(candidates: Sequence[Candidate], objective: str) -> Choice:
    """The best of candidates that all passed.

    Args:
        candidates: In the documented order of cost, the cheapest first; at least one.
        objective: One of :data:`OBJECTIVES`.
    """
    order = {candidate.variant.name: place for place, candidate in enumerate(candidates)}
    measured = all(candidate.latency_ms is not None for candidate in candidates)

    def cost(candidate: Candidate) -> float:
        return candidate.latency_ms or 0.0 if measured else float(order[candidate.variant.name])

    if objective == "size":
        best = min(candidates, key=lambda one: (one.trial.size_bytes, cost(one)))
        return Choice(best, f"the smallest that passes, {best.trial.size_bytes / 1e6:.1f} MB")
    if objective == "accuracy":
        best = max(candidates, key=lambda one: (round(one.agreement, 3), -cost(one)))
        return Choice(best, f"the closest to the original, agreement {best.agreement:.4f}")
    if not measured:
        return Choice(candidates[0], "the first in the order of cost: this machine is no device of the target")
    fastest = min(cost(one) for one in candidates)
    best = max((one for one in candidates if cost(one) <= fastest * (1 + SAME)), key=lambda one: one.agreement)
    near = " to within noise, and the closest of those" if cost(best) > fastest else ""
    return Choice(best, f"the fastest that passes{near}, {cost(best):.1f} ms for {INPUTS} golden inputs")


def table(candidates: Sequence[Candidate], choices: Sequence[Choice], objective: str) -> dict[str, Any]:
    """The search as evidence: every candidate, whether another beats it in everything, and what was chosen.

    Args:
        candidates: All, those that failed too.
        choices: One for each group of targets.
        objective: What was asked for.
    """
    chosen = {choice.candidate.variant.name: choice.reason for choice in choices}
    return {
        "objective": objective,
        "reproducible": all(candidate.latency_ms is None for candidate in candidates),
        "candidates": [
            {
                "recipe": candidate.trial.recipe,
                "variant": candidate.variant.name,
                "targets": list(candidate.trial.targets),
                "verdict": candidate.trial.parity.verdict,
                "agreement": round(candidate.agreement, 6),
                "size_bytes": candidate.trial.size_bytes,
                **({"latency_ms": round(candidate.latency_ms, 3)} if candidate.latency_ms is not None else {}),
                "pareto": _passed(candidate.trial.parity) and not _beaten(candidate, candidates),
                **({"chosen": chosen[candidate.variant.name]} if candidate.variant.name in chosen else {}),
            }
            for candidate in candidates
        ],
    }


def _beaten(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether another that passed is no worse in anything and better in something."""
    own = _scores(candidate)
    for other in others:
        if other is candidate or not _passed(other.trial.parity) or other.trial.targets != candidate.trial.targets:
            continue
        theirs = _scores(other)
        if all(a >= b for a, b in zip(theirs, own, strict=True)) and theirs != own:
            return True
    return False


def _scores(candidate: Candidate) -> tuple[float, float, float]:
    return candidate.agreement, -candidate.trial.size_bytes, -(candidate.latency_ms or 0.0)


def _passed(parity: Parity) -> bool:
    return parity.verdict != "fail"
