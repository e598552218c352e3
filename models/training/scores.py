"""How good an answer is, counted on held-out labels. Pure arithmetic."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence


def accuracy(answers: Sequence[object], labels: Sequence[object]) -> float:
    """Share of answers that are the label."""
    return sum(answer == label for answer, label in zip(answers, labels, strict=True)) / len(labels)


def majority(labels: Sequence[object]) -> float:
    """Accuracy of always answering the most frequent label."""
    return Counter(labels).most_common(1)[0][1] / len(labels)


def rouge_l(reference: str, answer: str) -> float:
    """F1 of the longest common subsequence of lower-case words (ROUGE-L; Lin 2004, ACL W04-1013)."""
    expected, given = _words(reference), _words(answer)
    if not expected or not given:
        return 0.0
    return 2 * _common_subsequence(expected, given) / (len(expected) + len(given))


def unigram_perplexity(training: Iterable[Sequence[int]], held_out: Iterable[Sequence[int]], vocabulary: int) -> float:
    """Perplexity per token of a model that knows only how frequent each token is (add-one smoothed)."""
    counts = Counter(token for text in training for token in text)
    total = counts.total() + vocabulary
    losses = [math.log(total / (counts[token] + 1)) for text in held_out for token in text]
    return math.exp(math.fsum(losses) / len(losses))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for index, other in enumerate(second):
            kept = lengths[index + 1]
            lengths[index + 1] = diagonal + 1 if word == other else max(kept, lengths[index])
            diagonal = kept
    return lengths[-1]
