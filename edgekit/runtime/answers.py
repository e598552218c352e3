"""Raw answers: what a model says before it is put into words, and how alike two of them are.

The reference, a draft bundle and a device give them in one form, so that parity and the self-test of every
task compare the same thing. The name of an array begins with its kind; what follows a dot only tells arrays
of one kind apart:

``embedding``
    A vector, (dimension,); its direction counts.
``logits``
    Rows of scores for choices that exclude each other, (…, choices); their softmax counts.
``flags``
    Independent yes-or-no scores, (…, flags); their sigmoid counts.
``value``
    Numbers that mean themselves, any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Input: TypeAlias = Mapping[str, Any]
"""One input by field, for example ``{"text": …}`` or ``{"question": …, "context": …}``: JSON values or arrays."""

Raw: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
"""The raw answer to one input, by name."""

KINDS: Final = ("embedding", "logits", "flags", "value")
WORST: Final = -1.0


def kind(name: str) -> str:
    """The kind of an array, from its name.

    Raises:
        ValueError: The name begins with no kind.
    """
    found = name.partition(".")[0]
    if found not in KINDS:
        raise ValueError(f"{name!r} names no kind of raw answer: {', '.join(KINDS)}")
    return found


def agreement(expected: Raw, found: Raw) -> float:
    """How alike two raw answers to one input are, by their least alike part.

    Vectors by cosine; choices by the overlap of their probabilities, one less the total-variation distance, in the
    worst row; flags by the largest difference of a probability; values by their relative difference.

    Returns:
        1 for the very same, down to -1; what is not finite, missing or of another shape is -1.
    """
    if set(expected) != set(found):
        return WORST
    return min((_alike(kind(name), expected[name], found[name]) for name in expected), default=WORST)


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities along the last axis, float64, in the shape of ``logits``."""
    wide = logits.astype(np.float64)
    exponents = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), np.float64)


def sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities of independent flags, float64, in the shape of ``logits``."""
    wide = logits.astype(np.float64)
    # Both branches are computed; the clip keeps the one not taken from overflowing.
    positive = 1 / (1 + np.exp(-np.maximum(wide, 0)))
    small = np.exp(np.minimum(wide, 0))
    return np.where(wide >= 0, positive, small / (1 + small))


def _alike(kind_: str, expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    if expected.shape != found.shape or not np.isfinite(found).all():
        return WORST
    if not expected.size:
        return 1.0
    if kind_ == "embedding":
        return _cosine(expected.ravel().astype(np.float64), found.ravel().astype(np.float64))
    if kind_ == "logits":
        return 1 - float((np.abs(softmax(expected) - softmax(found)).sum(axis=-1) / 2).max())
    if kind_ == "flags":
        return 1 - float(np.abs(sigmoid(expected) - sigmoid(found)).max())
    difference = np.abs(expected.astype(np.float64) - found) / np.maximum(np.abs(expected.astype(np.float64)), 1)
    return max(WORST, 1 - float(difference.max()))


def _cosine(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(np.dot(left, right)) / lengths if lengths > 0 else WORST  # no direction, no agreement
