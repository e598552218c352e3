"""Reranking: from the logits of query and document to documents in order.

Results are those of ``sentence_transformers.CrossEncoder.predict`` and ``.rank`` (sentence-transformers 6.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.runtime.answers import sigmoid, softmax

_FUNCTIONS: Final[dict[str, Callable[[npt.NDArray[Any]], Any]]] = {
    "sigmoid": sigmoid,
    "softmax": softmax,
    "tanh": np.tanh,
    "none": np.asarray,
}


def activate(logits: npt.NDArray[Any], activation: str) -> npt.NDArray[np.float32]:
    """Scores of pairs.

    Args:
        logits: (pairs, labels).
        activation: ``sigmoid``, ``softmax``, ``tanh`` or ``none``.

    Returns:
        (pairs,) where there is one label, else (pairs, labels).

    Raises:
        UsageError: There is no such activation.
    """
    if activation not in _FUNCTIONS:
        raise UsageError(f"activation {activation!r}: expected one of {', '.join(_FUNCTIONS)}")
    scores = np.asarray(_FUNCTIONS[activation](logits), dtype=np.float32)
    return scores[:, 0] if scores.shape[1] == 1 else scores


def rank_documents(
    scores: npt.NDArray[Any], *, top_k: int | None = None, documents: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Documents from the best to the worst; equal ones keep their order.

    Args:
        scores: (documents,).
        top_k: How many are wanted; None for all.
        documents: Their texts, to be given back as ``text``; None leaves them out.

    Returns:
        ``{"corpus_id", "score"}`` each, with ``text`` where ``documents`` are given.

    Raises:
        UsageError: ``top_k`` is less than 1.
    """
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
        raise UsageError(f"top_k {top_k!r}: expected an integer of at least 1, or None")
    ranked: list[dict[str, Any]] = [
        {"corpus_id": int(index), "score": float(scores[index])}
        for index in np.argsort(-np.asarray(scores), kind="stable")[:top_k]
    ]
    if documents is None:
        return ranked
    return [item | {"text": documents[item["corpus_id"]]} for item in ranked]
