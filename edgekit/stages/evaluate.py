"""Evaluate: how far a draft bundle's answers are from the reference's, through the code that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import ExportError
from edgekit.spec.parity import Budget, Check, Parity, judge, mean_interval, share_interval
from edgekit.stages.data import Texts, Triplet, long_texts

Vectors = npt.NDArray[np.float32]

GROUP: Final = 200  # nearest neighbours are sought among this many texts
LENGTHS: Final = ((1, 16), (17, 48), (49, 128), (129, 1 << 20))  # tokens
BATCH_TEXTS: Final = 24
BATCH_SIZES: Final = (3, 8, 24)
EXPORT_TEXTS: Final = 48
EXPORT_DISTANCE_MAX: Final = 2e-4  # MiniLM: 1e-6
SAME_COSINE: Final = 0.9999  # answers this alike for different texts are constant
CHANCE: Final = 0.5  # of the two candidates of a triplet
LANGUAGE_CHARACTERS_PER_TOKEN: Final = 2.0  # English prose has 4 to 5; random letters about 1.5


class Embeds(Protocol):
    """What is judged: the runtime's object for a draft bundle."""

    def embed(self, texts: Sequence[str], *, batch_size: int = 32) -> Vectors:
        """Vectors, float32 (texts, dimension)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The reference's answers, taken once for all variants.

    Attributes:
        texts: What was asked: the judged texts, then the long ones.
        judged: How many of ``texts`` count for nearest neighbours.
        vectors: float32 (texts, dimension).
        tokens: Tokens of each text, after truncation.
        doubts: Why these answers could prove nothing; empty where they can.
    """

    texts: tuple[str, ...]
    judged: int
    vectors: Vectors
    tokens: tuple[int, ...]
    doubts: tuple[str, ...]


def ask(
    embed: Callable[[Sequence[str]], Vectors],
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    data: Texts,
    triplets: Sequence[Triplet],
    *,
    samples_min: int,
    advance: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - a silent default
) -> Answers:
    """Ask the reference, and find reasons why its answers may prove nothing.

    Args:
        embed: The reference; float32 (texts, dimension).
        count_tokens: Tokens of each text.
        data: The judged texts; long ones are made by joining neighbours.
        triplets: Texts only a trained reference tells apart.
        samples_min: Fewer judged texts than this prove nothing.
        advance: Told how many texts are answered, of how many.
    """
    texts = data.judged + long_texts(data.judged)
    parts = []
    for start in range(0, len(texts), GROUP):
        parts.append(embed(texts[start : start + GROUP]))
        advance(min(start + GROUP, len(texts)), len(texts))
    vectors = np.concatenate(parts)
    tokens = tuple(count_tokens(texts))
    judged = len(data.judged)
    doubts = [*_too_few(judged, samples_min), *_not_language(texts, tokens), *_constant(vectors[:judged])]
    if not doubts:
        doubts += _at_chance(embed, triplets)
    return Answers(texts, judged, vectors, tokens, tuple(doubts))


def evaluate(model: Embeds, answers: Answers, budget: Budget, weight_checks: Sequence[Check]) -> Parity:
    """Judge one variant.

    Args:
        model: The draft bundle's variant, opened by the runtime.
        answers: The reference's, from :func:`ask`.
        budget: For the variant's precision.
        weight_checks: What :mod:`.weights` found in its file.
    """
    vectors = model.embed(answers.texts)
    if vectors.shape != answers.vectors.shape:
        return Parity("fail", f"answers of shape {vectors.shape}, the reference's are {answers.vectors.shape}", ())
    if not np.isfinite(vectors).all():
        return Parity("fail", "the variant answers NaN or infinity", ())
    cosines = _cosines(vectors, answers.vectors)
    judged = slice(0, answers.judged)
    checks = [
        _mean_cosine(cosines[judged], budget),
        _agreement(vectors[judged], answers.vectors[judged], budget),
        _norms(vectors, answers.vectors, budget),
        *_by_length(cosines, answers.tokens, budget),
        _batches(model, answers.texts, budget),
        *weight_checks,
    ]
    return judge(checks, answers.doubts)


def check_export(model: Embeds, answers: Answers) -> None:
    """Refuse a float graph that is not the reference to within rounding.

    Every later check of weights compares with this graph, so it is held far tighter than any budget.

    Raises:
        ExportError: Naming the largest distance found.
    """
    chosen = np.linspace(0, len(answers.texts) - 1, min(EXPORT_TEXTS, len(answers.texts))).astype(int)
    expected = answers.vectors[chosen]
    distance = np.linalg.norm(model.embed([answers.texts[i] for i in chosen]) - expected, axis=1)
    worst = float((distance / np.maximum(np.linalg.norm(expected, axis=1), 1e-12)).max())
    if not worst <= EXPORT_DISTANCE_MAX:  # NaN too
        raise ExportError(
            f"the exported float32 graph differs from the original by {worst:.2g} of a vector's length, "
            f"more than the {EXPORT_DISTANCE_MAX:g} that rounding explains",
            hint="the exporter mistranslates this architecture: try another version of transformers, and report it",
        )


def _mean_cosine(cosines: Vectors, budget: Budget) -> Check:
    interval = mean_interval(cosines.tolist())
    return Check("mean cosine", interval.low, budget.mean_cosine_min, interval.low >= budget.mean_cosine_min, interval)


def _agreement(vectors: Vectors, reference: Vectors, budget: Budget) -> Check:
    same = neighbours(vectors) == neighbours(reference)
    interval = share_interval(int(same.sum()), len(same))
    passed = interval.low >= budget.agreement_min
    return Check("nearest-neighbour agreement", interval.low, budget.agreement_min, passed, interval)


def neighbours(vectors: Vectors) -> npt.NDArray[np.int64]:
    """For each vector the index of its nearest by cosine, among its group of up to :data:`GROUP`, itself excluded.

    Texts whose reference neighbour is a tie are not singled out: with real text there are none.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    nearest = np.empty(len(unit), np.int64)
    for start in range(0, len(unit), GROUP):
        group = unit[start : start + GROUP]
        similarity = group @ group.T
        np.fill_diagonal(similarity, -np.inf)
        nearest[start : start + GROUP] = start + similarity.argmax(axis=1)
    return nearest


def _norms(vectors: Vectors, reference: Vectors, budget: Budget) -> Check:
    # Cosines are blind to length: this is what sees a dropped normalisation.
    ratio = np.linalg.norm(vectors, axis=1) / np.maximum(np.linalg.norm(reference, axis=1), 1e-12)
    deviation = float(np.abs(ratio - 1).mean())
    return Check("length deviation", deviation, budget.norm_ratio_max, deviation <= budget.norm_ratio_max)


def _by_length(cosines: Vectors, tokens: Sequence[int], budget: Budget) -> list[Check]:
    counts = np.array(tokens)
    checks = []
    for low, high in LENGTHS:
        inside = cosines[(counts >= low) & (counts <= high)]
        if len(inside):
            mean = float(inside.mean())
            name = f"mean cosine, {low} to {high} tokens" if high < 1 << 20 else f"mean cosine, {low} tokens and more"
            checks.append(Check(name, mean, budget.length_cosine_min, mean >= budget.length_cosine_min))
    return checks


def _batches(model: Embeds, texts: Sequence[str], budget: Budget) -> Check:
    # Evenly spread over the texts, so that short and long ones share batches.
    sample = [texts[i] for i in np.linspace(0, len(texts) - 1, min(BATCH_TEXTS, len(texts))).astype(int)]
    alone = model.embed(sample, batch_size=1)
    worst = 1.0
    for size in BATCH_SIZES:
        together = np.concatenate(
            [model.embed(sample[start : start + size], batch_size=size) for start in range(0, len(sample), size)]
        )
        worst = min(worst, float(_cosines(alone, together).min()))
    return Check(
        "worst cosine alone against in a batch", worst, budget.batch_cosine_min, worst >= budget.batch_cosine_min
    )


def _cosines(a: Vectors, b: Vectors) -> Vectors:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12), dtype=np.float32)


def _too_few(judged: int, samples_min: int) -> list[str]:
    return [f"{judged} texts to judge on, {samples_min} are needed to tell"] if judged < samples_min else []


def _constant(vectors: Vectors) -> list[str]:
    if not np.isfinite(vectors).all():
        return ["the reference answers NaN or infinity"]
    mean = float(np.median(_cosines(vectors[:-1], vectors[1:]))) if len(vectors) > 1 else 1.0
    return [f"the reference answers nearly the same to every text (cosine {mean:.5f})"] if mean > SAME_COSINE else []


def _not_language(texts: Sequence[str], tokens: Sequence[int]) -> list[str]:
    joined = "".join(texts)
    if sum(character.isascii() for character in joined) < 0.9 * len(joined):
        return []  # scripts without spaces have one or two characters a token by nature
    density = len(joined) / max(sum(tokens), 1)
    if density >= LANGUAGE_CHARACTERS_PER_TOKEN:
        return []
    return [f"the texts look random to the model's tokenizer ({density:.1f} characters a token)"]


def _at_chance(embed: Callable[[Sequence[str]], Vectors], triplets: Sequence[Triplet]) -> list[str]:
    anchors, paraphrases, distractors = (
        embed([getattr(triplet, part) for triplet in triplets]) for part in ("anchor", "paraphrase", "distractor")
    )
    right = int((_cosines(anchors, paraphrases) > _cosines(anchors, distractors)).sum())
    share = share_interval(right, len(triplets))
    if share.low > CHANCE:
        return []
    return [f"the reference prefers a paraphrase to a look-alike in {right} of {len(triplets)} cases: chance level"]
