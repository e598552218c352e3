"""From a speech decoder's tokens to text and its pieces with times, as ``transformers.pipeline`` puts them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The pipeline takes every window for one of thirty seconds when it adds up times.
_WINDOW_STEPS = 1500


@dataclass(frozen=True, slots=True)
class Heard:
    """The tokens of one clip, or of one chunk of a clip.

    Attributes:
        tokens: Generated, without prompt and end.
        seconds: The chunk's length; 0 where the clip was not cut.
        left: Seconds at its start that the chunk before holds too.
        right: Seconds at its end that the next chunk holds too.
    """

    tokens: Sequence[int]
    seconds: float = 0.0
    left: float = 0.0
    right: float = 0.0


class Transcript:
    """Puts the tokens of chunks together, in their order.

    Args:
        decode: Text of tokens.
        special: Ids that are never text.
        first: Id of time 0.
        step_s: Seconds from one time's id to the next.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], special: frozenset[int], first: int, step_s: float
    ) -> None:
        self._decode = decode
        self._special = special
        self._first = first
        self._step_s = step_s
        self._offset = 0.0  # seconds of sound before the chunk
        self._pieces: list[dict[str, Any]] = []
        self._start: float | None = None
        self._skip = False  # whether a pair of times was begun by one that does not count, maybe in the chunk before
        self._pending: list[list[int]] = []  # token runs of the open piece, one for each chunk that holds a part

    def add(self, heard: Heard) -> None:
        """Take the next chunk's tokens."""
        self._offset -= heard.left
        earliest, latest = self._trusted(heard)
        clock = _Clock(self._first, self._step_s)
        run: list[int] = []
        for place, token in enumerate(heard.tokens):
            if token in self._special:
                continue
            if token < self._first:
                run.append(token)
                continue
            time = round(clock.seconds(heard.tokens, place) + self._offset, 2)
            if latest is not None and token >= latest:
                self._skip = True  # within the part that the next chunk holds too, which settles it
            elif self._skip or (self._pending and token < earliest):
                self._skip = False  # the second of a pair, or within the part that the chunk before settled
            elif self._start is None:
                self._start = time
            elif time != self._start:
                self._pending.append(run)
                self._close(time)
                run = []
        self._offset += heard.seconds - heard.right
        if run:
            self._pending.append(run)
        elif not any(self._pending):
            self._pending, self._start = [], None

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """The whole text, and its pieces as ``{"text": str, "timestamp": (start_s, end_s)}``; times may be None."""
        if self._pending:
            self._close(None)
        return "".join(piece["text"] for piece in self._pieces), self._pieces

    def _close(self, end: float | None) -> None:
        text = self._decode(merged(self._pending))
        self._pieces.append({"text": text, "timestamp": (self._start, end)})
        self._pending, self._start = [], None

    def _trusted(self, heard: Heard) -> tuple[float, int | None]:
        """Ids of times between which this chunk is not also held by its neighbours."""
        earliest = heard.left / self._step_s + self._first if heard.left else float(self._first)
        latest = None
        if heard.right:
            for token in reversed(heard.tokens):
                if token < self._first:
                    continue
                if latest is not None and (token - self._first) * self._step_s < heard.seconds - heard.right:
                    break
                latest = token
        return earliest, latest


class _Clock:
    """Times of one clip's tokens: where they go back, the next window began."""

    def __init__(self, first: int, step_s: float) -> None:
        self._first = first
        self._step_s = step_s
        self._latest = 0.0
        self._before = 0.0
        self._passed = 0.0

    def seconds(self, tokens: Sequence[int], place: int) -> float:
        time = (tokens[place] - self._first) * self._step_s
        if time < self._latest:
            pair = place < 2 or all(token >= self._first for token in tokens[place - 2 : place])
            if pair:
                # The window ended at the pair's first time, which the next window counts from.
                self._latest = self._before
                self._passed += self._before
            else:
                self._passed += self._step_s * _WINDOW_STEPS
        self._before, self._latest = self._latest, time
        return time + self._passed


def merged(runs: Sequence[Sequence[int]]) -> list[int]:
    """Join runs of tokens that overlap at their ends, where most tokens agree.

    Of two neighbours, every offset is tried at which at least two tokens agree; the one with the largest share of
    agreeing tokens wins, longer ones being preferred a little. The left run counts up to the middle of the overlap,
    the right one from there.
    """
    if not runs:
        return []
    whole: list[int] = []
    left = list(runs[0])
    for following in runs[1:]:
        right = list(following)
        best, places = 0.0, (len(left), len(left), 0, 0)
        for shift in range(1, len(left) + len(right)):
            left_start, left_stop = max(0, len(left) - shift), min(len(left), len(left) + len(right) - shift)
            right_start, right_stop = max(0, shift - len(left)), min(len(right), shift)
            agree = int(np.sum(np.array(left[left_start:left_stop]) == np.array(right[right_start:right_stop])))
            score = agree / shift + shift / 10000
            if agree > 1 and score > best:
                best, places = score, (left_start, left_stop, right_start, right_stop)
        whole += left[: (places[0] + places[1]) // 2]
        left = right[(places[2] + places[3]) // 2 :]
    return whole + left
