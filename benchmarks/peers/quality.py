"""How close a peer's answers are to the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .statistics import share

Array = npt.NDArray[np.float32]


def compare(reference: Path, answers: Path, measure: str) -> dict[str, Any]:
    """Figures for a table.

    Args:
        reference: The original's answers, .npz, one array for each input.
        answers: The peer's.
        measure: ``embedding``: token states (tokens, width), pooled by their mean. ``labels``: logits, (labels,) or
            (tokens, labels).

    Returns:
        ``cosine`` (mean over inputs), ``agreement`` with ``low`` and ``high``, ``cases``, and ``what`` agrees.

    Raises:
        ValueError: The answers are not as many, or not of the reference's shape.
    """
    first, second = _read(reference), _read(answers)
    if [array.shape for array in first] != [array.shape for array in second]:
        raise ValueError("the answers are of other shapes than the original's")
    if measure == "embedding":
        return embeddings(*(np.stack([states.mean(axis=0) for states in arrays]) for arrays in (first, second)))
    return labels(first, second)


def embeddings(reference: Array, answers: Array) -> dict[str, Any]:
    """Mean cosine, and the share of inputs whose nearest other input is the same one; arrays are (inputs, width)."""
    reference, answers = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (reference, answers))
    same = _nearest(reference) == _nearest(answers)
    cosine = float((reference * answers).sum(axis=1).mean())
    return {"cosine": cosine, "what": "nearest neighbour", **_agreement(same)}


def labels(reference: list[Array], answers: list[Array]) -> dict[str, Any]:
    """Mean cosine of the logits, and the share of inputs or tokens that get the original's label.

    Of (tokens, labels) the first and the last row are left out: special tokens, which have no label.
    """
    first, second = (np.concatenate([_rows(array) for array in arrays]) for arrays in (reference, answers))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = float(((first * second).sum(axis=1) / norms).mean())
    return {"cosine": cosine, "what": "label", **_agreement(first.argmax(axis=1) == second.argmax(axis=1))}


def _rows(logits: Array) -> Array:
    return logits[None] if logits.ndim == 1 else logits[1:-1]


def _agreement(same: npt.NDArray[np.bool_]) -> dict[str, Any]:
    low, high = share(int(same.sum()), len(same))
    return {"agreement": float(same.mean()), "low": low, "high": high, "cases": len(same)}


def _nearest(vectors: Array) -> npt.NDArray[np.intp]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(similarity.argmax(axis=1))


def _read(path: Path) -> list[Array]:
    with np.load(path) as arrays:
        return [arrays[str(index)] for index in range(len(arrays.files))]
