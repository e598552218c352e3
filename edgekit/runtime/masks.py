"""Masked words: from the logits of a masked place to what may stand there.

Results are those of ``transformers.pipeline("fill-mask")`` (transformers 5.23).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.runtime.answers import softmax

Decode: TypeAlias = Callable[[Sequence[int]], str]
Filling: TypeAlias = dict[str, Any]


def best_tokens(
    logits: npt.NDArray[Any], *, top_k: int, targets: Sequence[int] | None = None
) -> list[list[tuple[int, float]]]:
    """The likeliest tokens for each masked place, each by itself.

    Args:
        logits: Of the masked places, (masks, vocabulary).
        top_k: Tokens wanted for each; fewer where there are fewer targets.
        targets: Token ids to choose from; None for the whole vocabulary. Probabilities are those among all tokens.

    Returns:
        For each place, tokens with their probabilities, the likeliest first.

    Raises:
        UsageError: ``top_k`` is less than 1 or more than the vocabulary.
    """
    vocabulary = logits.shape[-1]
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= vocabulary:
        raise UsageError(f"top_k {top_k!r}: expected an integer from 1 to {vocabulary}")
    choices = np.arange(vocabulary) if targets is None else np.asarray(targets, dtype=np.int64)
    return [
        [(int(choices[best]), float(row[best])) for best in _best(row, top_k)] for row in softmax(logits)[:, choices]
    ]


def as_fillings(
    ids: Sequence[int], place: int, chosen: Sequence[tuple[int, float]], token_text: Decode, sequence_text: Decode
) -> list[Filling]:
    """What may stand at one masked place, as the pipeline writes it.

    Args:
        ids: The text's token ids, special ones included.
        place: Where in ``ids`` the mask is.
        chosen: Tokens with their probabilities.
        token_text: Text of a token.
        sequence_text: Text of all of them.

    Returns:
        ``{"score", "token", "token_str", "sequence"}`` each; ``sequence`` is the text with that mask filled.
    """
    return [
        {
            "score": score,
            "token": token,
            "token_str": token_text([token]),
            "sequence": sequence_text([*ids[:place], token, *ids[place + 1 :]]),
        }
        for token, score in chosen
    ]


def _best(scores: npt.NDArray[np.float64], top_k: int) -> npt.NDArray[np.int64]:
    if top_k >= len(scores):
        return np.argsort(-scores, kind="stable").astype(np.int64)
    # Sorting a whole vocabulary for five words would cost more than finding them
    best = np.sort(np.argpartition(-scores, top_k - 1)[:top_k])
    return best[np.argsort(-scores[best], kind="stable")].astype(np.int64)
