import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import RecordError
from edgekit.runtime.speech_times import TimestampRule, heard
from edgekit.runtime.transcript import Heard, Transcript, merged
from edgekit.spec.reader import Table
from edgekit.spec.settings.speech import SpeechSettings

FIRST = 10  # ids 0..6 are words, 7 ends, 8 is special, 9 asks for no times, 10.. are times of 0.02 s
RULE = TimestampRule(first=FIRST, no_timestamps=9, eos=7, max_initial=2)
SPEECH = SpeechSettings(
    languages={"en": 3},
    names={"english": "en"},
    tasks={"transcribe": 4},
    language="en",
    task="",
    prompt_ids=(-1, 4),
    special_ids=(7, 8),
    no_timestamps_id=9,
    max_initial_timestamp=50,
    timestamp_s=0.02,
    timestamp_frames=2,
    return_timestamps=False,
)


def allowed(generated, scores=None):
    row = np.zeros((1, 20), np.float32) if scores is None else np.array([scores], np.float32)
    RULE(row, np.array([generated], np.int64))
    return set(np.flatnonzero(np.isfinite(row[0])).tolist())


def words_likely():
    return [5.0] * 8 + [0.0] * 12


def test_a_text_opens_with_an_early_time():
    assert allowed([]) == {10, 11, 12}


def test_words_follow_the_time_that_opens():
    assert allowed([11]) == set(range(9))


def test_behind_words_a_later_time_or_more_words():
    assert allowed([11, 3], words_likely()) == set(range(9)) | set(range(12, 20))


def test_behind_a_closing_time_a_time_no_earlier_or_the_end():
    assert allowed([11, 3, 14], [*words_likely()[:7], 9.0, *[0.0] * 12]) == {7, 8} | set(range(14, 20))


def test_all_times_together_outweigh_one_word():
    assert allowed([11, 3]) == set(range(12, 20))


@given(st.lists(st.integers(0, 19), max_size=12), st.integers(0, 5))
def test_something_is_always_allowed_and_each_row_is_judged_alone(generated, seed):
    scores = np.random.default_rng(seed).normal(size=20).astype(np.float32)
    alone = allowed(generated, scores)
    both = np.stack([scores, scores])
    RULE(both, np.array([generated, generated], np.int64))
    assert set(np.flatnonzero(np.isfinite(both[1])).tolist()) == alone


@pytest.mark.parametrize(
    ("tokens", "kept", "step"),
    [
        ([], [], 100),
        ([1, 2], [1, 2], 100),
        ([10, 1, 15], [10, 1, 15], 100),  # complete: nothing was said behind the last time
        ([10, 1, 15, 15, 2], [10, 1, 15, 15], 10),  # cut off behind 0.1 s
        ([10, 1, 15, 16, 2, 18], [10, 1, 15, 16, 2, 18], 100),
        ([10, 1, 15, 15], [10, 1, 15, 15], 10),
        ([10, 10, 1, 2], [10, 10], 100),  # no progress: the window is over
    ],
)
def test_what_follows_the_last_pair_of_times_is_heard_again(tokens, kept, step):
    assert heard(tokens, FIRST, 100, 2) == (kept, step)


@given(st.lists(st.integers(0, 19), max_size=20), st.integers(1, 200))
def test_hearing_always_goes_on(tokens, window):
    kept, step = heard(tokens, FIRST, window, 2)
    assert step >= 1
    assert kept == tokens[: len(kept)]


@pytest.mark.parametrize(
    ("runs", "whole"),
    [
        ([], []),
        ([[1, 2, 3]], [1, 2, 3]),
        ([[1, 2, 3, 4], [3, 4, 5]], [1, 2, 3, 4, 5]),
        ([[1, 2, 3, 9], [2, 3, 4, 5]], [1, 2, 3, 4, 5]),  # the left end was cut off, and misheard
        ([[1, 2], [3, 4]], [1, 2, 3, 4]),
        ([[1, 2, 3], [2, 3, 4], [3, 4, 5]], [1, 2, 3, 4, 5]),
    ],
)
def test_overlapping_runs_are_joined_where_they_agree(runs, whole):
    assert merged(runs) == whole


def written(*parts):
    transcript = Transcript(lambda ids: "".join(map(str, ids)), frozenset({7, 8}), FIRST, 0.02)
    for part in parts:
        transcript.add(part)
    return transcript.finish()


def test_pieces_lie_between_pairs_of_times():
    text, pieces = written(Heard([10, 1, 2, 15, 15, 8, 3, 20]))
    assert text == "123"
    assert pieces == [{"text": "12", "timestamp": (0.0, 0.1)}, {"text": "3", "timestamp": (0.1, 0.2)}]


def test_a_piece_without_its_end_says_so():
    assert written(Heard([10, 1, 2]))[1] == [{"text": "12", "timestamp": (0.0, None)}]
    assert written(Heard([1, 2])) == ("12", [{"text": "12", "timestamp": (None, None)}])
    assert written(Heard([])) == ("", [])


def test_times_of_a_later_chunk_count_from_its_start():
    _, pieces = written(Heard([10, 1, 2, 3, 45], 1.0, 0.0, 0.2), Heard([20, 2, 3, 4, 30], 1.0, 0.2, 0.0))
    assert pieces == [{"text": "1234", "timestamp": (0.0, 1.0)}]


def test_the_section_survives_its_json():
    table = Table(SPEECH.to_json(), "edgekit.json")
    assert SpeechSettings.read(table) == SPEECH
    table.done()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("language", "fr"),
        ("task", "sing"),
        ("names", {"french": "fr"}),
        ("languages", {"en": -1}),
        ("prompt_ids", [-2]),
        ("no_timestamps_id", -2),
        ("timestamp_s", 0),
        ("return_timestamps", 1),
    ],
)
def test_a_broken_section_is_refused_by_its_key(key, value):
    with pytest.raises(RecordError, match=key):
        SpeechSettings.read(Table(SPEECH.to_json() | {key: value}, "edgekit.json"))
