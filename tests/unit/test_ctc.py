from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runtime.ctc import Piece, chunk_sizes, chunks, collapse, join, words
from edgekit.spec.settings.audio import CtcSettings

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "'")
SETTINGS = CtcSettings(
    output="logits",
    frame_samples=320,
    tokens=TOKENS,
    blank="<pad>",
    delimiter="|",
    space=" ",
    lower_case=False,
    clean_up=False,
)


def ids(text):
    """Letters, '_' for the blank."""
    return [TOKENS.index("<pad>" if letter == "_" else letter) for letter in text]


def naive(frames):
    """The definition: a token counts where it differs from the frame before and is no blank."""
    found = []
    for place, token in enumerate(frames):
        if token != 0 and (place == 0 or frames[place - 1] != token):
            found.append(" " if TOKENS[token] == "|" else TOKENS[token])
    return found


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("AAB_B||C", "ABB C"),
        ("__|A|__", "A"),
        ("___", ""),
        ("A_A_A", "AAA"),
        ("", ""),
        ("A||_||B", "A  B"),
    ],
)
def test_repeats_merge_and_blanks_part_them(frames, text):
    assert join(collapse(ids(frames), SETTINGS), SETTINGS) == text


def test_pieces_know_their_frames():
    pieces = collapse(ids("_AAB_|C"), SETTINGS)
    assert pieces == [Piece("A", 1, 3), Piece("B", 3, 4), Piece(" ", 5, 6), Piece("C", 6, 7)]
    assert words(pieces, " ") == [Piece("AB", 1, 4), Piece("C", 6, 7)]


@given(st.lists(st.integers(0, len(TOKENS) - 1), max_size=60))
def test_collapsing_is_the_definition(frames):
    pieces = collapse(frames, SETTINGS)
    assert [piece.text for piece in pieces] == naive(frames)
    for piece in pieces:
        assert 0 <= piece.start < piece.end <= len(frames)
    for piece, following in pairwise(pieces):
        assert piece.end <= following.start
    assert " ".join(word.text for word in words(pieces, " ")).split() == "".join(naive(frames)).split()


def test_case_and_spaces_follow_the_tokenizer():
    from dataclasses import replace

    pieces = collapse(ids("A|'|B"), SETTINGS)
    assert join(pieces, SETTINGS) == "A ' B"
    assert join(pieces, replace(SETTINGS, clean_up=True, lower_case=True)) == "a'b"
    assert join(collapse(ids("A|B"), replace(SETTINGS, delimiter="")), SETTINGS) == "A|B"


@given(st.integers(1, 50_000), st.integers(4, 30), st.integers(0, 8), st.integers(0, 8))
def test_chunks_keep_every_frame_once(frames, length, left, right):
    frame = 320
    if length <= left + right:
        with pytest.raises(UsageError, match="no room"):
            list(chunks(frames, length * frame, left * frame, right * frame))
        return
    frames = frames % 500 + 1
    kept = []
    for chunk in chunks(frames * frame, length * frame, left * frame, right * frame):
        numbers = np.arange(chunk.start // frame, chunk.end // frame)
        kept.extend(numbers[chunk.kept_frames(frame)].tolist())
    assert kept == list(range(frames))


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [
        (1.0, None, (16000, 2560, 2560)),
        (1.0, 0.1, (16000, 1600, 1600)),
        (1.0, (0.1, 0), (16000, 1600, 0)),
        (0.33, [0.0, 0.05], (5120, 0, 640)),
    ],
)
def test_seconds_become_whole_frames(length, stride, expected):
    assert chunk_sizes(length, stride, 16000, 320) == expected


@pytest.mark.parametrize(
    ("length", "stride"),
    [(-1.0, None), (float("nan"), None), ("2", 0), (0.001, 0), (1.0, -0.1), (1.0, (1,)), (1.0, "ab"), (1.0, (0, None))],
)
def test_what_is_no_number_of_seconds_is_refused(length, stride):
    with pytest.raises(UsageError, match=r"chunk_length_s|stride_length_s"):
        chunk_sizes(length, stride, 16000, 320)
