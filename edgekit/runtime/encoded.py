"""Token ids with what leads an answer back to its characters: texts, windows of them, and what stands around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import HostError

if TYPE_CHECKING:
    from tokenizers import Encoding

Integers: TypeAlias = npt.NDArray[np.int64]

ADDED: Final = -1


class Bare:
    """A text's tokens without added ones, as arrays that its windows share and that are made when asked for."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def __len__(self) -> int:
        return len(self._encoding)

    @cached_property
    def ids(self) -> Integers:
        """Token ids, (tokens,)."""
        return _numbers(self._encoding.ids)

    @cached_property
    def offsets(self) -> Integers:
        """First character and the one behind the last, (tokens, 2)."""
        return np.array(self._encoding.offsets, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def words(self) -> Integers:
        """Index of the word, -1 for none, (tokens,)."""
        return _numbers(self._encoding.word_ids)


@dataclass(frozen=True, slots=True)
class Stride:
    """How many tokens neighbouring windows share.

    Attributes:
        tokens: How many.
        narrows: Whether it narrows to half a window where there is no room for it, instead of being refused.
    """

    tokens: int
    narrows: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The tokens of one text or pair, or of one window of it.

    Attributes:
        ids: Token ids, special tokens included, (tokens,).
        type_ids: Token types, (tokens,).
        sequence: 0 for tokens of the text, 1 for those of its pair, -1 for added ones, (tokens,).
        pieces: Each text's tokens, all of them.
        starts: The first token of each text that is in ``ids``.
        truncated: Whether tokens were dropped.
    """

    ids: Integers
    type_ids: Integers
    sequence: Integers
    pieces: tuple[Bare, ...]
    starts: tuple[int, ...]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def offsets(self) -> Integers:
        """Each token's first character and the one behind its last, in its own text, (tokens, 2)."""
        return self._spread([piece.offsets for piece in self.pieces], 0)

    @property
    def words(self) -> Integers:
        """Index of each token's word within its text, -1 for none, (tokens,)."""
        return self._spread([piece.words for piece in self.pieces], ADDED)

    def _spread(self, arrays: Sequence[Integers], added: int) -> Integers:
        spread = np.full((len(self.ids), *arrays[0].shape[1:]), added, dtype=np.int64)
        for number, (array, start) in enumerate(zip(arrays, self.starts, strict=True)):
            places = np.flatnonzero(self.sequence == number)
            spread[places] = array[start : start + len(places)]
        return spread


@dataclass(frozen=True, slots=True)
class Frame:
    """What a tokenizer puts around one text, or around and between two.

    Attributes:
        gaps: Ids and types of the tokens before the first text, behind it, and so on.
        types: Type of each text's tokens.
    """

    gaps: tuple[tuple[Integers, Integers], ...]
    types: tuple[int, ...]

    @property
    def added(self) -> int:
        """How many tokens it adds."""
        return sum(len(ids) for ids, _ in self.gaps)

    def around(self, pieces: Sequence[Bare], spans: Sequence[tuple[int, int]], *, truncated: bool) -> Encoded:
        """A part of each text, framed.

        Args:
            pieces: The texts' tokens.
            spans: The first token of each that is taken, and the one behind the last.
            truncated: Whether tokens were dropped.
        """
        ids, types = [self.gaps[0][0]], [self.gaps[0][1]]
        sequence = [np.full(len(self.gaps[0][0]), ADDED)]
        for number, (piece, (start, stop)) in enumerate(zip(pieces, spans, strict=True)):
            gap_ids, gap_types = self.gaps[number + 1]
            ids += [piece.ids[start:stop], gap_ids]
            types += [np.full(stop - start, self.types[number]), gap_types]
            sequence += [np.full(stop - start, number), np.full(len(gap_ids), ADDED)]
        return Encoded(
            np.concatenate(ids),
            np.concatenate(types),
            np.concatenate(sequence),
            tuple(pieces),
            tuple(start for start, _ in spans),
            truncated,
        )


def frame_of(texts: int, trial: Encoding, file: str) -> Frame:
    """The frame that was put around a trial.

    Args:
        texts: How many texts it holds, 1 or 2.
        trial: Their tokens, special ones included.
        file: The tokenizer's, for errors.

    Raises:
        HostError: The texts do not stand in their order, each in one piece.
    """
    ids, types = _numbers(trial.ids), _numbers(trial.type_ids)
    owners = _numbers(trial.sequence_ids)
    gaps, own, place = [], [], 0
    for number in range(texts):
        places = np.flatnonzero(owners == number)
        if not len(places) or places[0] < place or len(places) != places[-1] - places[0] + 1:
            raise HostError(f"{file}: arranges texts in a way that needs a newer edgekit")
        gaps.append((ids[place : places[0]], types[place : places[0]]))
        own.append(int(types[places[0]]))
        place = int(places[-1]) + 1
    gaps.append((ids[place:], types[place:]))
    return Frame(tuple(gaps), tuple(own))


def window_spans(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Where windows over ``length`` tokens start and stop; the last one ends with the text."""
    spans = [(0, min(room, length))]
    while spans[-1][1] < length:
        start = spans[-1][0] + room - stride
        spans.append((start, min(start + room, length)))
    return spans


def _numbers(values: Sequence[int | None]) -> Integers:
    return np.array([ADDED if value is None else value for value in values], dtype=np.int64)
