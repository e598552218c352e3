"""The comparison: an exported graph's answers against torch's, and whether the comparison could have failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BOUND: Final = 1e-4  # largest difference over the largest value of that output; float32 noise is 1e-6 to 1e-5
ALIVE: Final = 1e-2  # an output must vary by this share of its size, within and between inputs, to prove anything

Answers = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What torch was asked, and what it said.

    Attributes:
        cases: Sizes in words, and inputs, of every case.
        references: Torch's answers to each case: one, or one for every step.
        tokens: The tokens torch chose after each step of each case; empty for models that answer at once.
        shapes: How many shapes the cases have.
        names: What is compared, in words.
        dead: Outputs that prove nothing.
    """

    cases: Sequence[tuple[str, Mapping[str, Any]]]
    references: Sequence[Sequence[Answers]]
    tokens: Sequence[Sequence[Any]]
    shapes: int
    names: tuple[str, ...]
    dead: tuple[str, ...]

    def sizes(self) -> dict[str, float]:
        """The largest absolute value of each output over all cases: a single small answer is no measure."""
        found: dict[str, float] = {}
        for answers in (answers for steps in self.references for answers in steps):
            for name, value in answers.items():
                found[name] = max(found.get(name, 1e-6), float(np.abs(value).max(initial=0)))
        return found


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one answer is from the reference's.

    Attributes:
        output: Name of the output that is farthest off.
        relative: Largest absolute difference over the largest absolute value of that output in all cases.
        where: Shape and step of the inputs, in words.
    """

    output: str
    relative: float
    where: str


def difference(reference: Answers, got: Answers, sizes: Mapping[str, float], where: str) -> Difference:
    """The worst output of one run against :meth:`Asked.sizes`; a missing output or a NaN is infinitely far off."""
    worst = Difference("", 0.0, where)
    for name, expected in reference.items():
        found = got.get(name)
        if found is None or found.shape != expected.shape or not np.isfinite(found).all():
            return Difference(name, float("inf"), where)
        off = float(np.abs(expected.astype(np.float64) - found.astype(np.float64)).max(initial=0))
        relative = off / sizes[name]
        if relative >= worst.relative:
            worst = Difference(name, relative, where)
    return worst


def dead_outputs(runs: Sequence[Answers]) -> tuple[str, ...]:
    """Outputs of which nothing is proved: not finite, constant, or the same for every input of one shape."""
    dead = []
    for name in runs[0]:
        seen = [np.asarray(run[name], dtype=np.float64) for run in runs if name in run]
        size = max(float(np.abs(value).max(initial=0)) for value in seen)
        finite = all(np.isfinite(value).all() for value in seen)
        varies = any(float(value.std()) > ALIVE * size for value in seen)
        first = seen[0]
        answers = any(
            value.shape == first.shape and float(np.abs(value - first).max(initial=0)) > ALIVE * size
            for value in seen[1:]
        )
        if not (finite and varies and answers and size > 0):
            dead.append(name)
    return tuple(dead)
