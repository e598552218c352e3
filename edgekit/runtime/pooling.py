"""From token states to one vector, as sentence-transformers' Pooling and Normalize modules do it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import IntegrityError

Floats: TypeAlias = npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.int64]


def pool(states: Floats, mask: Integers, how: str) -> Floats:
    """One vector per text.

    The semantics, edge cases included, are those of ``sentence_transformers`` 6.2, module ``pooling``.

    Args:
        states: Token states, (batch, sequence, dimension).
        mask: 1 for tokens, 0 for padding, (batch, sequence).
        how: One of :data:`edgekit.spec.manifest.POOLINGS`.

    Returns:
        (batch, dimension).

    Raises:
        IntegrityError: ``how`` is none of them.
    """
    if how in ("mean", "mean_sqrt_len_tokens"):
        total = (states * mask[:, :, None].astype(np.float32)).sum(axis=1, dtype=np.float32)
        tokens = np.maximum(mask.sum(axis=1, dtype=np.float32), np.float32(1e-9))[:, None]
        mean: Floats = total / (tokens if how == "mean" else np.sqrt(tokens))
        return mean
    rows = np.arange(len(states))
    if how == "cls":
        first: Floats = states[rows, mask.argmax(axis=1)]
        return first
    if how == "max":
        masked: Floats = np.where(mask[:, :, None] == 0, np.float32(-np.inf), states)
        largest: Floats = masked.max(axis=1)
        return largest
    if how == "lasttoken":
        last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        last = np.where(mask.any(axis=1), last, 0)
        final: Floats = states[rows, last] * mask[rows, last][:, None].astype(np.float32)
        return final
    raise IntegrityError(f"edgekit.json: embedding: pooling {how!r} is unknown")


def normalize(vectors: Floats) -> Floats:
    """Vectors scaled to unit length, (batch, dimension); the divisor is at least 1e-12, as torch has it."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    scaled: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled
