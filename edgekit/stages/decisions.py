"""How far decisions are from the reference's: the choice taken, and the probabilities behind it.

One measure for every task whose answer is rows of scores: the label of a text or image, of each token, the start
and end of an answer, the next token under teacher forcing. Rows of one input are not independent, so intervals
count inputs, not rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.runtime.answers import Raw, kind, sigmoid, softmax
from edgekit.spec.parity import Budget, Check, Interval, mean_interval, share_interval
from edgekit.stages.reference import Case

Rows = npt.NDArray[np.float64]

SAME_SHIFT: Final = 0.01  # answers that differ less than this from their mean are constant
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class _Compared:
    """One input: shares of rows, and means over rows.

    Attributes:
        agreed: Share of rows with the reference's choice.
        shift: Mean distance of the probabilities.
        right: Share of rows with the right choice: the reference's, the variant's; None where no truth is known.
        surprise: Mean negative log-probability of the right choice, of both; None likewise.
        rows: How many have a known truth.
    """

    agreed: float
    shift: float
    right: tuple[float, float] | None
    surprise: tuple[float, float] | None
    rows: int


def doubts(cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:
    """Why the reference's answers could prove nothing: they do not vary, or are no better than chance."""
    found = []
    for name in raw[0]:
        shift = _variation(name, raw)
        if shift < SAME_SHIFT:
            found.append(f"the reference answers nearly the same to every input ({name} vary by {shift:.4f})")
    return found or _at_chance(cases, raw)


def checks(
    cases: Sequence[Case], judged: int, expected: Sequence[Raw], found: Sequence[Raw], budget: Budget
) -> list[Check]:
    """Measure a variant's decisions against the reference's.

    Args:
        cases: What was asked; their truths, where known, make a metric of the task's own.
        judged: How many of them count.
        expected: The reference's answers.
        found: The variant's.
        budget: The bounds.
    """
    compared = [_compare(cases[place], expected[place], found[place]) for place in range(judged)]
    limits = budget.limits
    agreed = share_interval(math.fsum(one.agreed for one in compared), len(compared))
    shift = mean_interval([one.shift for one in compared])
    measured = [
        Check("agreement", agreed.low, limits["agreement_min"], agreed.low >= limits["agreement_min"], agreed),
        Check("mean shift of probabilities", shift.high, limits["shift_max"], shift.high <= limits["shift_max"], shift),
    ]
    if "accuracy_drop_max" in limits:
        drops = [one.right[0] - one.right[1] for one in compared if one.right is not None]
        measured += _at_most("accuracy lost", drops, limits["accuracy_drop_max"])
    if "perplexity_ratio_max" in limits:
        ratios = [one.surprise[1] - one.surprise[0] for one in compared if one.surprise is not None]
        measured += _ratio("perplexity ratio", ratios, limits["perplexity_ratio_max"])
    return measured


def probabilities(name: str, scores: npt.NDArray[np.float32]) -> Rows:
    """Rows of probabilities, (rows, choices) float64; a flag is a row of two choices."""
    what = kind(name)
    if what == "logits":
        return softmax(scores).reshape(-1, scores.shape[-1])
    if what == "flags":
        yes = sigmoid(scores).reshape(-1, 1)
        return np.concatenate([1 - yes, yes], axis=1)
    raise ValueError(f"{name}: {what} holds no choices")


def _compare(case: Case, expected: Raw, found: Raw) -> _Compared:
    agreed, shift, right, surprise = [], [], [], []
    for name in expected:
        if kind(name) == "value":
            distance = _value_distance(expected[name], found[name])
            agreed.append(distance < 1)
            shift.append(distance)
            continue
        reference, variant = probabilities(name, expected[name]), probabilities(name, found[name])
        agreed += list(reference.argmax(axis=1) == variant.argmax(axis=1))
        shift += list(np.abs(reference - variant).sum(axis=1) / 2)
        if name in case.truth:
            truth = case.truth[name].reshape(-1)
            places = np.flatnonzero(truth >= 0)
            taken = truth[places]
            right += [(both[places].argmax(axis=1) == taken) for both in (reference, variant)]
            surprise += [-np.log(np.maximum(both[places, taken], _LEAST)) for both in (reference, variant)]
    known = bool(right) and right[0].size > 0
    return _Compared(
        agreed=float(np.mean(agreed)),
        shift=float(np.mean(shift)),
        right=(_mean(right[0::2]), _mean(right[1::2])) if known else None,
        surprise=(_mean(surprise[0::2]), _mean(surprise[1::2])) if known else None,
        rows=sum(part.size for part in right[0::2]),
    )


def _mean(parts: Sequence[npt.NDArray[np.generic]]) -> float:
    return float(np.concatenate([part.astype(np.float64) for part in parts]).mean())


def _value_distance(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    return float(np.abs(expected - found).max() / max(float(np.abs(expected).max()), 1.0))


def _at_most(name: str, values: Sequence[float], bound: float) -> list[Check]:
    if not values:
        return []
    interval = mean_interval(values)
    return [Check(name, interval.high, bound, interval.high <= bound, interval)]


def _ratio(name: str, logarithms: Sequence[float], bound: float) -> list[Check]:
    if not logarithms:
        return []
    log = mean_interval(logarithms)
    # Far from any bound the exponent would overflow: beyond this a ratio is only "much worse".
    low, estimate, high = (math.exp(min(value, 50.0)) for value in (log.low, log.estimate, log.high))
    return [Check(name, high, bound, high <= bound, Interval(estimate, low, high, log.samples))]


def _variation(name: str, raw: Sequence[Raw]) -> float:
    """Mean distance of the first rows' probabilities from their mean; rows of unlike width vary by their form."""
    if kind(name) == "value":
        values = np.array([float(answer[name].ravel()[0]) for answer in raw])
        return float(values.std())
    rows = [probabilities(name, answer[name])[0] for answer in raw if answer[name].size]
    if len({len(row) for row in rows}) != 1:
        return 1.0
    stacked = np.stack(rows)
    return float((np.abs(stacked - stacked.mean(axis=0)).sum(axis=1) / 2).mean())


def _at_chance(cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:
    """Whether the reference is right no more often than one who always says the commonest answer."""
    right, truths = [], []
    for case, answer in zip(cases, raw, strict=True):
        for name, truth in case.truth.items():
            places = np.flatnonzero(truth.reshape(-1) >= 0)
            if len(places):
                taken = truth.reshape(-1)[places]
                chosen = probabilities(name, answer[name])[places].argmax(axis=1)
                right.append(float((chosen == taken).mean()))
                truths.append(taken)
    if not right:
        return []
    _, counts = np.unique(np.concatenate(truths), return_counts=True)
    commonest = float(counts.max() / counts.sum())
    share = share_interval(math.fsum(right), len(right))
    if share.low > commonest:
        return []
    right_in, common_in = f"{share.estimate:.0%}", f"{commonest:.0%}"
    return [f"the reference is right in {right_in} of cases, the commonest answer is in {common_in}: chance level"]
