"""Evaluate: how far a draft bundle's answers are from the reference's, through the code that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw, agreement
from edgekit.spec.parity import Budget, Check, Parity, judge
from edgekit.spec.spread import spread
from edgekit.stages import decisions, vectors
from edgekit.stages.data import Dataset
from edgekit.stages.reference import Case, Reference

ASKED_AT_ONCE: Final = 200
BATCH_INPUTS: Final = 24
BATCH_SIZES: Final = (3, 8, 24)
EXPORT_INPUTS: Final = 48
EXPORT_DISTANCE_MAX: Final = 2e-4  # MiniLM: 1e-6


class Answering(Protocol):
    """What is judged: the runtime's object for a draft bundle."""

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """Answers before they are put into words."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The reference's answers, taken once for all variants.

    Attributes:
        cases: What was asked: the judged inputs, then the long ones.
        judged: How many of ``cases`` count for agreement.
        raw: The answer to each.
        doubts: Why these answers could prove nothing; empty where they can.
    """

    cases: tuple[Case, ...]
    judged: int
    raw: tuple[Raw, ...]
    doubts: tuple[str, ...]

    @property
    def inputs(self) -> list[Input]:
        """The input of each case."""
        return [case.input for case in self.cases]


def ask(
    reference: Reference,
    dataset: Dataset,
    *,
    samples_min: int,
    doubts: Sequence[str] = (),
    advance: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - a silent default
    known: Sequence[Raw] | None = None,
) -> Answers:
    """Ask the reference, and find reasons why its answers may prove nothing.

    Args:
        reference: The original.
        dataset: Judged rows; long ones are made by joining neighbours where that makes sense.
        samples_min: Fewer judged inputs than this prove nothing.
        doubts: Reasons that are known before anything is asked.
        advance: Told how many inputs are answered, of how many.
        known: The answers, where they were taken before; the reference is not asked then.

    Raises:
        DataError: The data cannot be asked, or the known answers are those to other data.
    """
    dataset.require(reference.columns)
    judged = reference.cases(dataset.judged)
    if not judged:
        raise DataError(f"{dataset.name}: holds nothing to judge on", hint="give more rows with --data")
    cases = (*judged, *reference.cases(dataset.long()))
    raw = _raw(reference, cases, advance) if known is None else list(known)
    if len(raw) != len(cases):
        raise DataError(f"{dataset.name}: {len(cases)} inputs, but {len(raw)} known answers")
    found = [dataset.doubt] if dataset.doubt else too_few(len(judged), samples_min)
    if not all(np.isfinite(array).all() for answer in raw for array in answer.values()):
        found.append("the reference answers NaN or infinity")
    else:
        measure = vectors if vectors.measures(raw[0]) else decisions
        found += measure.doubts(cases[: len(judged)], raw[: len(judged)])
    if not found:
        found += reference.doubts(cases, raw)
    return Answers(cases, len(judged), tuple(raw), (*doubts, *found))


def _raw(reference: Reference, cases: Sequence[Case], advance: Callable[[int, int], None]) -> list[Raw]:
    raw: list[Raw] = []
    for start in range(0, len(cases), ASKED_AT_ONCE):
        raw += reference.raw([case.input for case in cases[start : start + ASKED_AT_ONCE]])
        advance(min(start + ASKED_AT_ONCE, len(cases)), len(cases))
    return raw


def too_few(judged: int, samples_min: int) -> list[str]:
    """The doubt about fewer judged inputs than can tell; empty where there are enough."""
    return [] if judged >= samples_min else [f"{judged} inputs to judge on, {samples_min} are needed to tell"]


def evaluate(model: Answering, answers: Answers, budget: Budget, weight_checks: Sequence[Check]) -> Parity:
    """Judge one variant.

    Args:
        model: The draft bundle's variant, opened by the runtime.
        answers: The reference's, from :func:`ask`.
        budget: For the task's measure and the variant's precision.
        weight_checks: What :mod:`.weights` found in its file.
    """
    found = model.raw(answers.inputs, batch_size=32)
    for expected, answer in zip(answers.raw, found, strict=True):
        if {name: array.shape for name, array in expected.items()} != {
            name: array.shape for name, array in answer.items()
        }:
            shapes = {name: array.shape for name, array in answer.items()}
            wanted = {name: array.shape for name, array in expected.items()}
            return Parity("fail", f"answers of shape {shapes}, the reference's are {wanted}", ())
    if not all(np.isfinite(array).all() for answer in found for array in answer.values()):
        return Parity("fail", "the variant answers NaN or infinity", ())
    measure = vectors if vectors.measures(answers.raw[0]) else decisions
    checks = [
        *measure.checks(answers.cases, answers.judged, answers.raw, found, budget),
        _batches(model, answers.inputs, budget),
        *weight_checks,
    ]
    alike = [agreement(expected, answer) for expected, answer in zip(answers.raw, found, strict=True)]
    return replace(
        judge(checks, answers.doubts), spread=spread(alike[: answers.judged], answers.inputs[: answers.judged])
    )


def check_export(model: Answering, answers: Answers) -> None:
    """Refuse a float graph that is not the reference to within rounding.

    Every later check of weights compares with this graph, so it is held far tighter than any budget.

    Raises:
        ExportError: Naming the largest distance found.
    """
    chosen = np.linspace(0, len(answers.cases) - 1, min(EXPORT_INPUTS, len(answers.cases))).astype(int)
    found = model.raw([answers.inputs[place] for place in chosen], batch_size=8)
    worst = max(_distance(answers.raw[place], answer) for place, answer in zip(chosen, found, strict=True))
    if not worst <= EXPORT_DISTANCE_MAX:  # NaN too
        raise ExportError(
            f"the exported float32 graph differs from the original by {worst:.2g} of an answer's length, "
            f"more than the {EXPORT_DISTANCE_MAX:g} that rounding explains",
            hint="the exporter mistranslates this architecture: try another version of transformers, and report it",
        )


def _distance(expected: Raw, found: Raw) -> float:
    """The largest distance of an array from the expected one, as a share of its length."""
    worst = 0.0
    for name, array in expected.items():
        if name not in found or found[name].shape != array.shape:
            return float("inf")
        length = float(np.linalg.norm(array.astype(np.float64)))
        distance = float(np.linalg.norm(found[name].astype(np.float64) - array)) / max(length, 1e-12)
        worst = distance if not distance <= worst else worst  # NaN counts as the worst
    return worst


def _batches(model: Answering, inputs: Sequence[Input], budget: Budget) -> Check:
    # Evenly spread over the inputs, so that short and long ones share batches.
    sample = [inputs[place] for place in np.linspace(0, len(inputs) - 1, min(BATCH_INPUTS, len(inputs))).astype(int)]
    alone = model.raw(sample, batch_size=1)
    worst = 1.0
    for size in BATCH_SIZES:
        for start in range(0, len(sample), size):
            together = model.raw(sample[start : start + size], batch_size=size)
            worst = min(worst, *map(agreement, alone[start : start + size], together))
    name = "batch_cosine_min" if "batch_cosine_min" in budget.limits else "batch_agreement_min"
    what = (
        "worst cosine alone against in a batch"
        if name == "batch_cosine_min"
        else "worst agreement alone against in a batch"
    )
    return Check(what, worst, budget.limits[name], worst >= budget.limits[name])
