"""Token classification: from the probabilities of tokens to entities of a text.

The strategies are those of ``transformers.pipeline("token-classification")`` (transformers 5.23).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError

STRATEGIES: Final = ("none", "simple", "first", "average", "max")

Doubles: TypeAlias = npt.NDArray[np.float64]
Join: TypeAlias = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One token of a text, special ones left out.

    Attributes:
        index: Its place in its window.
        word: The token as the vocabulary writes it; for an unknown one, its characters.
        start: Its first character.
        end: The character behind its last.
        continues: Whether it continues the word of the token before.
        scores: Probability of each label, (labels,).
    """

    index: int
    word: str
    start: int
    end: int
    continues: bool
    scores: Doubles


@dataclass(frozen=True, slots=True)
class Entity:
    """A token, a word or a group of them, with its label.

    Attributes:
        label: As the model names it; of a group, without ``B-`` and ``I-``.
        score: Its probability; of a group, the mean.
        word: What it reads, as the tokenizer puts it together.
        start: Its first character.
        end: The character behind its last.
        index: The token's place in its window; None for groups.
    """

    label: str
    score: float
    word: str
    start: int
    end: int
    index: int | None = None


def find_entities(
    windows: Iterable[Sequence[Token]],
    labels: Sequence[str],
    strategy: str,
    *,
    ignore: Iterable[str] = ("O",),
    join: Join,
) -> list[Entity]:
    """The entities of one text.

    Args:
        windows: The text's tokens, window after window; where windows overlap, the longer of two entities stays.
        labels: The model's.
        strategy: One of :data:`STRATEGIES`.
        ignore: Labels that are left out.
        join: Puts tokens together into text.

    Raises:
        UsageError: There is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"aggregation_strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
    ignored = frozenset(ignore)
    found = [_label_tokens(tokens, labels, strategy, join) for tokens in windows]
    kept = [entity for entities in found for entity in entities if entity.label not in ignored]
    return _without_overlaps(kept) if len(found) > 1 else kept


def as_dict(entity: Entity, strategy: str) -> dict[str, Any]:
    """An entity as the pipeline writes it."""
    named: dict[str, Any] = {"entity" if strategy == "none" else "entity_group": entity.label, "score": entity.score}
    if strategy == "none":
        named["index"] = entity.index
    return named | {"word": entity.word, "start": entity.start, "end": entity.end}


def continues_word(text: str, token: str, start: int, end: int, *, marked: bool) -> bool:
    """Whether a token continues the word before it.

    Args:
        text: The whole text.
        token: As the vocabulary writes it.
        start: Its first character.
        end: The character behind its last.
        marked: Whether the vocabulary marks such tokens (``##``). Where it does not, a token that has no space
            before or at its first character counts as continuing.
    """
    if marked:
        return len(token) != end - start
    return start > 0 and " " not in text[start - 1 : start + 1]


def _label_tokens(tokens: Sequence[Token], labels: Sequence[str], strategy: str, join: Join) -> list[Entity]:
    if strategy in ("none", "simple"):
        entities = [_of_token(token, labels) for token in tokens]
    else:
        entities = [_of_word(word, labels, strategy, join) for word in _words(tokens)]
    return entities if strategy == "none" else [_merge(group, join) for group in _groups(entities)]


def _of_token(token: Token, labels: Sequence[str]) -> Entity:
    best = int(token.scores.argmax())
    return Entity(labels[best], float(token.scores[best]), token.word, token.start, token.end, token.index)


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.continues:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _of_word(tokens: Sequence[Token], labels: Sequence[str], strategy: str, join: Join) -> Entity:
    if strategy == "first":
        scores = tokens[0].scores
    elif strategy == "max":
        scores = max(tokens, key=lambda token: float(token.scores.max())).scores
    else:
        scores = np.mean([token.scores for token in tokens], axis=0)
    best = int(scores.argmax())
    word = join([token.word for token in tokens])
    return Entity(labels[best], float(scores[best]), word, tokens[0].start, tokens[-1].end)


def _groups(entities: Sequence[Entity]) -> list[list[Entity]]:
    groups: list[list[Entity]] = []
    for entity in entities:
        begins, tag = _tag(entity.label)
        if groups and not begins and tag == _tag(groups[-1][-1].label)[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return groups


def _tag(label: str) -> tuple[bool, str]:
    """Whether a label opens an entity, and what of; labels without ``B-`` or ``I-`` continue one."""
    return (label.startswith("B-"), label[2:] if label[:2] in ("B-", "I-") else label)


def _merge(entities: Sequence[Entity], join: Join) -> Entity:
    first = entities[0]
    return replace(
        first,
        label=first.label.split("-", 1)[-1],
        score=float(np.mean([entity.score for entity in entities])),
        word=join([entity.word for entity in entities]),
        end=entities[-1].end,
        index=None,
    )


def _without_overlaps(entities: Iterable[Entity]) -> list[Entity]:
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: entity.start):
        if kept and entity.start < kept[-1].end:
            if (entity.end - entity.start, entity.score) > (kept[-1].end - kept[-1].start, kept[-1].score):
                kept[-1] = entity
        else:
            kept.append(entity)
    return kept
