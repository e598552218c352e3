"""How far vectors are from the reference's: cosine, length, and whose neighbour is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.runtime.answers import Raw, kind
from edgekit.spec.parity import Budget, Check, mean_interval, share_interval
from edgekit.stages.reference import Case

Vectors = npt.NDArray[np.float32]

GROUP: Final = 200  # nearest neighbours are sought among this many inputs
SIZES: Final = ((1, 16), (17, 48), (49, 128), (129, 1 << 20))  # tokens
SAME_COSINE: Final = 0.9999  # answers this alike for different inputs are constant


def measures(answer: Raw) -> bool:
    """Whether an answer is one vector."""
    return len(answer) == 1 and all(kind(name) == "embedding" for name in answer)


def doubts(cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:  # noqa: ARG001 - one signature for all measures
    """Why the reference's answers could prove nothing."""
    found = _stack(raw)
    median = float(np.median(cosines(found[:-1], found[1:]))) if len(found) > 1 else 1.0
    if median > SAME_COSINE:
        return [f"the reference answers nearly the same to every input (cosine {median:.5f})"]
    return []


def checks(
    cases: Sequence[Case], judged: int, expected: Sequence[Raw], found: Sequence[Raw], budget: Budget
) -> list[Check]:
    """Measure a variant's vectors against the reference's.

    Args:
        cases: What was asked.
        judged: How many of them count for means and neighbours; the others for length and size only.
        expected: The reference's answers.
        found: The variant's.
        budget: The bounds.
    """
    reference, answers = _stack(expected), _stack(found)
    alike = cosines(answers, reference)
    return [
        _mean_cosine(alike[:judged], budget),
        _agreement(answers[:judged], reference[:judged], budget),
        _norms(answers, reference, budget),
        *_by_size(alike, [case.size for case in cases], budget),
    ]


def neighbours(vectors: Vectors) -> npt.NDArray[np.int64]:
    """For each vector the index of its nearest by cosine, among its group of up to :data:`GROUP`, itself excluded.

    Inputs whose reference neighbour is a tie are not singled out: with real text there are none.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    nearest = np.empty(len(unit), np.int64)
    for start in range(0, len(unit), GROUP):
        group = unit[start : start + GROUP]
        similarity = group @ group.T
        np.fill_diagonal(similarity, -np.inf)
        nearest[start : start + GROUP] = start + similarity.argmax(axis=1)
    return nearest


def cosines(a: Vectors, b: Vectors) -> Vectors:
    """The cosine of each pair of rows, float32."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12), dtype=np.float32)


def _stack(raw: Sequence[Raw]) -> Vectors:
    return np.stack([next(iter(answer.values())) for answer in raw])


def _mean_cosine(alike: Vectors, budget: Budget) -> Check:
    interval = mean_interval(alike.tolist())
    bound = budget.limits["mean_cosine_min"]
    return Check("mean cosine", interval.low, bound, interval.low >= bound, interval)


def _agreement(vectors: Vectors, reference: Vectors, budget: Budget) -> Check:
    same = neighbours(vectors) == neighbours(reference)
    interval = share_interval(int(same.sum()), len(same))
    bound = budget.limits["neighbours_min"]
    return Check("nearest-neighbour agreement", interval.low, bound, interval.low >= bound, interval)


def _norms(vectors: Vectors, reference: Vectors, budget: Budget) -> Check:
    # Cosines are blind to length: this is what sees a dropped normalisation.
    ratio = np.linalg.norm(vectors, axis=1) / np.maximum(np.linalg.norm(reference, axis=1), 1e-12)
    deviation, bound = float(np.abs(ratio - 1).mean()), budget.limits["norm_ratio_max"]
    return Check("length deviation", deviation, bound, deviation <= bound)


def _by_size(alike: Vectors, sizes: Sequence[int], budget: Budget) -> list[Check]:
    counts, bound = np.array(sizes), budget.limits["length_cosine_min"]
    found = []
    for low, high in SIZES:
        inside = alike[(counts >= low) & (counts <= high)]
        if len(inside):
            mean = float(inside.mean())
            name = f"mean cosine, {low} to {high} tokens" if high < 1 << 20 else f"mean cosine, {low} tokens and more"
            found.append(Check(name, mean, bound, mean >= bound))
    return found
