"""Extractive question answering: from the logits of windows to spans of a context.

Arguments and results are those of ``transformers.pipeline("question-answering")`` of transformers 4.57, which
version 5 no longer has: independent softmaxes for start and end over the tokens that may be an answer, the product
as the score of a span (after Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions"), equal answers
of several windows added up, and the no-answer score as the least one of any window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.runtime.answers import softmax

Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]

MAX_WINDOW: Final = 384  # tokens, where the model takes that many
MAX_STRIDE: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One window over a context.

    Attributes:
        start: Logits for an answer's first token, (tokens,).
        end: Logits for its last one, (tokens,).
        context: Which tokens are the context's, (tokens,).
        no_answer: Which tokens stand for "no answer" (``[CLS]``), (tokens,).
        offsets: First character in the context and the one behind the last, (tokens, 2).
        words: Index of each token's word in the context, -1 for none, (tokens,).
    """

    start: npt.NDArray[Any]
    end: npt.NDArray[Any]
    context: Booleans
    no_answer: Booleans
    offsets: Integers
    words: Integers


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of the context.

    Attributes:
        score: Its probability; equal answers of several windows are added up, so it can exceed 1.
        start: Its first character.
        end: The character behind its last.
        answer: The characters themselves; empty for "no answer".
    """

    score: float
    start: int
    end: int
    answer: str


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        top_k: Answers wanted.
        max_answer_len: Tokens of an answer, at most.
        handle_impossible_answer: Whether "no answer" is one of the answers.
        align_to_words: Whether a span grows to whole words.
    """

    top_k: int = 1
    max_answer_len: int = 15
    handle_impossible_answer: bool = False
    align_to_words: bool = True

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: Naming the argument.
        """
        for name in ("top_k", "max_answer_len"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} {value!r}: expected an integer of at least 1")


def find_answers(windows: Iterable[Window], context: str, search: Search) -> list[Answer]:
    """The best answers over all windows, best first; fewer than ``top_k`` where there are not as many spans.

    Args:
        windows: The windows of one question and context.
        context: The context's characters.
        search: What is looked for.
    """
    wanted = search.top_k * 2 + 10 if search.align_to_words else search.top_k  # aligned spans coincide
    no_answer = 1e6  # above every score
    found: dict[str, Answer] = {}
    for window in windows:
        allowed = window.context | window.no_answer
        start, end = (softmax(np.where(allowed, logits, -10_000.0)) for logits in (window.start, window.end))
        no_answer = min(no_answer, float(start[0] * end[0]))
        for first, last, score in best_spans(start, end, window.context, wanted, search.max_answer_len):
            begin, behind = _characters(window, first, last, align=search.align_to_words)
            key = context[begin:behind].lower()
            earlier = found.get(key)
            found[key] = (
                Answer(score, begin, behind, context[begin:behind])
                if earlier is None
                else Answer(earlier.score + score, earlier.start, earlier.end, earlier.answer)
            )
    answers = list(found.values())
    if search.handle_impossible_answer:
        answers.append(Answer(no_answer, 0, 0, ""))
    return sorted(answers, key=lambda answer: answer.score, reverse=True)[: search.top_k]


def best_spans(
    start: Doubles, end: Doubles, allowed: Booleans, top_k: int, max_answer_len: int
) -> list[tuple[int, int, float]]:
    """Spans of tokens by the product of their two probabilities.

    Args:
        start: Probability of a token to be the first, (tokens,).
        end: Probability of a token to be the last, (tokens,).
        allowed: Tokens that may be part of a span's ends, (tokens,).
        top_k: Spans wanted.
        max_answer_len: Tokens of a span, at most.

    Returns:
        (first, last, score), best first; at most ``top_k``, fewer where there are not as many.
    """
    places = np.flatnonzero(allowed)
    distance = places[None, :] - places[:, None]
    fits = (distance >= 0) & (distance < max_answer_len)
    firsts, lasts = (places[axis] for axis in np.nonzero(fits))
    scores = start[firsts] * end[lasts]
    if len(scores) > top_k:
        best = np.argpartition(-scores, top_k - 1)[:top_k]
        best = best[np.lexsort((best, -scores[best]))]
    else:
        best = np.argsort(-scores, kind="stable")
    return [(int(firsts[i]), int(lasts[i]), float(scores[i])) for i in best]


def _characters(window: Window, first: int, last: int, *, align: bool) -> tuple[int, int]:
    if align and window.words[first] >= 0 and window.words[last] >= 0:
        same_first = window.context & (window.words == window.words[first])
        same_last = window.context & (window.words == window.words[last])
        return int(window.offsets[same_first, 0][0]), int(window.offsets[same_last, 1][-1])
    return int(window.offsets[first, 0]), int(window.offsets[last, 1])
