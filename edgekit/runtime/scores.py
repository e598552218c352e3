"""From logits to scores between 0 and 1, in double precision."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]


def softmax(logits: npt.NDArray[Any]) -> Doubles:
    """Probabilities over the last axis; adding a constant to all logits changes nothing."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Doubles = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: npt.NDArray[Any]) -> Doubles:
    """The probability of each by itself; no value overflows."""
    halved = np.asarray(logits, dtype=np.float64) / 2
    shares: Doubles = (np.tanh(halved) + 1) / 2
    return shares


def descending(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Indices from the largest to the least; equal ones keep their order."""
    return np.argsort(-np.asarray(scores), kind="stable").astype(np.int64)
