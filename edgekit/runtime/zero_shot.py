"""Zero-shot classification: labels chosen at run time, scored by entailment or by closeness of embeddings.

By entailment it is the method of Yin et al. 2019, "Benchmarking Zero-shot Text Classification", with the results of
``transformers.pipeline("zero-shot-classification")`` (transformers 5.23).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answers import softmax

Doubles: TypeAlias = npt.NDArray[np.float64]

TEMPLATE: Final = "This example is {}."

# Sentence embedding models are trained with a softmax over cosines times 20 (temperature 0.05): the default of
# sentence-transformers' MultipleNegativesRankingLoss and of SimCSE (Gao et al. 2021).
COSINE_SCALE: Final = 20.0


def read_labels(labels: str | Sequence[str] | None) -> list[str]:
    """Candidate labels: a list, or a text with commas between them.

    Raises:
        InputError: There is none, or one is no text.
    """
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",") if label.strip()]
    if not isinstance(labels, Sequence | np.ndarray) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"candidate_labels: expected a str or a list of str, got {type(labels).__name__}")
    candidates = [str(label) for label in labels]
    if not candidates:
        raise InputError("candidate_labels: expected at least one label")
    return candidates


def hypotheses(labels: Sequence[str], template: str) -> list[str]:
    """A sentence per label.

    Args:
        labels: The candidates.
        template: A text with ``{}`` where the label goes.

    Raises:
        UsageError: The template has no such place, or asks for something else.
    """
    if not isinstance(template, str):
        raise UsageError(f"hypothesis_template: expected a str, got {type(template).__name__}")
    try:
        made = [template.format(label) for label in labels]
    except (IndexError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"hypothesis_template {template!r}: {error}", hint="write {} where the label goes") from error
    if template.format("\0") == template:
        raise UsageError(f"hypothesis_template {template!r}: has no {{}} for the label")
    return made


def by_entailment(logits: npt.NDArray[Any], entailment: int, *, multi_label: bool) -> Doubles:
    """Probability of each label, from the logits of premise and hypothesis.

    Args:
        logits: (labels, classes).
        entailment: The class that says the hypothesis follows; -1 is the last.
        multi_label: Whether each label is judged by itself, against contradiction, which is taken to be the first
            class, or the last where the first is entailment. A single label always is.

    Returns:
        (labels,). Without ``multi_label`` they add up to 1.
    """
    if multi_label or len(logits) == 1:
        contradiction = -1 if entailment == 0 else 0
        pairs: Doubles = softmax(logits[:, [contradiction, entailment]])[:, 1]
        return pairs
    return softmax(logits[:, entailment])


def by_embedding(
    text: npt.NDArray[Any], labels: npt.NDArray[Any], *, multi_label: bool, scale: float = COSINE_SCALE
) -> Doubles:
    """Score of each label, from embeddings.

    Args:
        text: (dimension,).
        labels: Of the labels' hypotheses, (labels, dimension).
        multi_label: Whether each label is judged by itself: then its score is the cosine, not below 0. A single label
            always is.
        scale: What the cosines are multiplied by before the softmax. It sharpens the scores and never changes
            their order.

    Returns:
        (labels,). Without ``multi_label`` they add up to 1.
    """
    vector, rows = np.asarray(text, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    cosines: Doubles = rows @ vector / np.maximum(lengths, 1e-12)
    if multi_label or len(rows) == 1:
        return np.clip(cosines, 0.0, 1.0)
    return softmax(cosines * scale)


def as_result(sequence: str, labels: Sequence[str], scores: Doubles) -> dict[str, Any]:
    """``{"sequence", "labels", "scores"}``, the likeliest label first."""
    order = np.argsort(-scores, kind="stable")
    return {
        "sequence": sequence,
        "labels": [labels[index] for index in order],
        "scores": [float(scores[index]) for index in order],
    }
