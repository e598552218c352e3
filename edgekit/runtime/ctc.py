"""Text from frames: greedy connectionist temporal classification (A. Graves et al., ICML 2006).

The best token of each frame is taken, repeats are merged, blanks are dropped: what Wav2Vec2CTCTokenizer.decode and
``transformers.pipeline`` make of a model's scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.spec.settings.audio import CtcSettings

# What `clean_up_tokenization_spaces` stands for in transformers, in its order.
_CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text with the frames it was heard in.

    Attributes:
        text: A token's or a word's.
        start: Its first frame.
        end: The frame behind its last.
    """

    text: str
    start: int
    end: int


def collapse(ids: Sequence[int] | npt.NDArray[np.integer], settings: CtcSettings) -> list[Piece]:
    """Merge repeats and drop blanks.

    Args:
        ids: The best token of each frame.
        settings: The section's.
    """
    pieces = []
    place = 0
    for token, run in groupby(settings.tokens[int(index)] for index in ids):
        length = sum(1 for _ in run)
        if token != settings.blank:
            text = settings.space if settings.delimiter and token == settings.delimiter else token
            pieces.append(Piece(text, place, place + length))
        place += length
    return pieces


def words(pieces: Sequence[Piece], space: str) -> list[Piece]:
    """The runs of pieces between spaces."""
    found = []
    for is_space, run in groupby(pieces, lambda piece: piece.text == space):
        if not is_space:
            letters = list(run)
            found.append(Piece("".join(letter.text for letter in letters), letters[0].start, letters[-1].end))
    return found


def join(pieces: Sequence[Piece], settings: CtcSettings) -> str:
    """The text of all pieces."""
    text = "".join(piece.text for piece in pieces).strip()
    if settings.lower_case:
        text = text.lower()
    if settings.clean_up:
        for spaced, tight in _CLEAN_UP:
            text = text.replace(spaced, tight)
    return text


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a long clip and how much of it is only context.

    Attributes:
        start: Its first sample.
        end: The sample behind its last.
        left: Samples at its start whose frames are dropped.
        right: Samples at its end whose frames are dropped.
    """

    start: int
    end: int
    left: int
    right: int

    def kept_frames(self, frame_samples: int) -> slice:
        """Which of the chunk's frames count."""
        length = self.end - self.start
        frames = round(length * (1 / frame_samples))  # not a division: the pipeline's rounding at halves
        left = round(self.left / length * frames)
        right = round(self.right / length * frames)
        return slice(left, frames - right)


def chunks(count: int, length: int, left: int, right: int) -> Iterator[Chunk]:
    """Cut a clip into chunks that overlap by their context, as the pipeline does.

    Args:
        count: The clip's samples.
        length: Samples of a chunk, a multiple of a frame's.
        left: Samples of context before each chunk but the first.
        right: Samples of context behind each chunk but the last.

    Raises:
        UsageError: Context leaves nothing of a chunk.
    """
    if length <= left + right:
        raise UsageError(
            f"chunks of {length} samples leave no room between strides of {left} and {right}",
            hint="make chunk_length_s longer or stride_length_s shorter",
        )
    for start in range(0, count, length - left - right):
        end = min(start + length, count)
        before = left if start else 0
        if end - start > before:
            yield Chunk(start, end, before, 0 if end == count else right)
        if end == count:
            return


def chunk_sizes(
    chunk_length_s: float, stride_length_s: float | Sequence[float] | None, sampling_rate: int, frame_samples: int
) -> tuple[int, int, int]:
    """Seconds to samples, rounded to whole frames: (length, left, right).

    Args:
        chunk_length_s: Seconds of a chunk.
        stride_length_s: Seconds of context on both sides, or (left, right); None takes a sixth of the chunk.
        sampling_rate: In Hz.
        frame_samples: Samples of a frame.

    Raises:
        UsageError: A number is negative or not finite, or a chunk is shorter than a frame.
    """
    stride = chunk_length_s / 6 if stride_length_s is None else stride_length_s
    left, right = (stride, stride) if isinstance(stride, int | float) else _pair(stride)
    for name, seconds in (("chunk_length_s", chunk_length_s), ("stride_length_s", left), ("stride_length_s", right)):
        if not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
            raise UsageError(f"{name}: expected seconds, got {seconds!r}")
    length, before, behind = (
        round(seconds * sampling_rate / frame_samples) * frame_samples for seconds in (chunk_length_s, left, right)
    )
    if not length:
        raise UsageError(f"chunk_length_s {chunk_length_s}: shorter than one frame")
    return length, before, behind


def _pair(stride: Sequence[float]) -> tuple[float, float]:
    if isinstance(stride, str) or not isinstance(stride, Sequence) or len(stride) != 2:
        raise UsageError(f"stride_length_s: expected seconds or (left, right), got {stride!r}")
    return stride[0], stride[1]
