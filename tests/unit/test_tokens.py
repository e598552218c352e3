import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runtime.tokens import STRATEGIES, Token, as_dict, continues_word, find_entities

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def join(words):
    return " ".join(words).replace(" ##", "")


def token(index, word, start, label, score=0.9, *, continues=False):
    scores = np.full(len(LABELS), (1 - score) / (len(LABELS) - 1))
    scores[LABELS.index(label)] = score
    return Token(index, word, start, start + len(word.removeprefix("##")), continues, scores)


JOHN = [
    token(1, "John", 0, "B-PER"),
    token(2, "##son", 4, "I-LOC", 0.6, continues=True),
    token(3, "lives", 8, "O"),
    token(4, "in", 14, "O"),
    token(5, "New", 17, "B-LOC"),
    token(6, "York", 21, "I-LOC", 0.7),
]


def spans(entities):
    return [(entity.label, entity.word, entity.start, entity.end) for entity in entities]


def test_none_gives_tokens_with_their_place():
    found = find_entities([JOHN], LABELS, "none", join=join)
    assert [as_dict(entity, "none") for entity in found][1] == {
        "entity": "I-LOC", "score": 0.6, "index": 2, "word": "##son", "start": 4, "end": 7
    }  # fmt: skip
    assert [entity.index for entity in found] == [1, 2, 5, 6]


def test_simple_groups_neighbours_of_one_kind_even_within_words():
    found = find_entities([JOHN], LABELS, "simple", join=join)
    assert spans(found) == [("PER", "John", 0, 4), ("LOC", "##son", 4, 7), ("LOC", "New York", 17, 25)]
    assert found[2].score == pytest.approx(0.8)
    assert "entity_group" in as_dict(found[0], "simple")
    assert "index" not in as_dict(found[0], "simple")


@pytest.mark.parametrize(("strategy", "score"), [("first", 0.9), ("max", 0.9), ("average", (0.9 + 0.1) / 2)])
def test_a_word_has_one_label(strategy, score):
    found = find_entities([JOHN], LABELS, strategy, join=join)
    assert spans(found) == [("PER", "Johnson", 0, 7), ("LOC", "New York", 17, 25)]
    assert found[0].score == pytest.approx(score)


def test_max_takes_the_surest_token_and_first_the_first():
    unsure = [token(1, "John", 0, "B-PER", 0.5), token(2, "##son", 4, "B-LOC", 0.9, continues=True)]
    assert find_entities([unsure], LABELS, "max", join=join)[0].label == "LOC"
    assert find_entities([unsure], LABELS, "first", join=join)[0].label == "PER"


def test_an_opening_label_starts_a_new_entity():
    tokens = [token(1, "Ann", 0, "B-PER"), token(2, "Bob", 4, "B-PER"), token(3, "Cox", 8, "I-PER")]
    assert spans(find_entities([tokens], LABELS, "simple", join=join)) == [
        ("PER", "Ann", 0, 3),
        ("PER", "Bob Cox", 4, 11),
    ]


def test_ignored_labels_are_those_asked_for():
    assert len(find_entities([JOHN], LABELS, "none", ignore=(), join=join)) == 6
    assert spans(find_entities([JOHN], LABELS, "simple", ignore=("LOC", "O"), join=join)) == [("PER", "John", 0, 4)]


def test_where_windows_overlap_the_longer_entity_stays():
    first = [token(1, "New", 17, "B-LOC")]
    second = [token(1, "New", 17, "B-LOC"), token(2, "York", 21, "I-LOC"), token(3, "Bob", 30, "B-PER")]
    found = find_entities([first, second], LABELS, "simple", join=join)
    assert spans(found) == [("LOC", "New York", 17, 25), ("PER", "Bob", 30, 33)]


def test_no_tokens_give_no_entities():
    assert find_entities([[]], LABELS, "first", join=join) == []
    assert find_entities([], LABELS, "simple", join=join) == []


def test_an_unknown_strategy_is_a_usage_error():
    with pytest.raises(UsageError, match="none, simple, first, average, max"):
        find_entities([JOHN], LABELS, "mean", join=join)


@pytest.mark.parametrize(
    ("token", "start", "end", "marked", "expected"),
    [
        ("##son", 4, 7, True, True),
        ("John", 0, 4, True, False),
        ("son", 4, 7, False, True),
        ("\u0120lives", 8, 13, False, False),
        ("John", 0, 4, False, False),
    ],
)
def test_subwords_are_told_by_their_mark_or_by_the_space_before(token, start, end, marked, expected):
    assert continues_word("Johnson lives", token, start, end, marked=marked) is expected


@given(
    st.sampled_from(STRATEGIES[1:]),
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from(LABELS), st.booleans()), max_size=30),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_groups_never_overlap_and_stay_inside_the_text(strategy, words, size, shared):
    tokens, place = [], 0
    for index, (length, space, label, continues) in enumerate(words):
        tokens.append(token(index, "x" * length, place + space, label, continues=continues))
        place += space + length
    step = max(size - shared, 1)
    windows = [tokens[start : start + size] for start in range(0, len(tokens), step)]
    for found in (
        find_entities(windows, LABELS, strategy, join=join),
        find_entities([tokens], LABELS, strategy, join=join),
    ):
        behind = 0
        for entity in found:
            assert behind <= entity.start < entity.end <= place
            assert 0 < entity.score <= 1
            assert entity.label in ("PER", "LOC")
            behind = entity.end
