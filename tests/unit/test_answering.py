import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.errors import UsageError
from edgekit.runtime.answering import Search, Window, best_spans, find_answers
from edgekit.runtime.answers import softmax

CONTEXT = "Paris is in France"
WORDS = [(0, 5), (6, 8), (9, 11), (12, 18)]
QUESTION = 3  # [CLS] where [SEP]


def window(start, end, *, words=None, offsets=None):
    """[CLS] where [SEP] Paris is in France [SEP]"""
    inside = offsets or WORDS
    count = QUESTION + len(inside) + 1
    context = np.zeros(count, dtype=bool)
    context[QUESTION:-1] = True
    no_answer = np.zeros(count, dtype=bool)
    no_answer[0] = True
    spread = np.zeros((count, 2), dtype=np.int64)
    spread[QUESTION:-1] = inside
    numbers = np.full(count, -1)
    numbers[QUESTION:-1] = words if words is not None else range(len(inside))
    return Window(np.array(start, float), np.array(end, float), context, no_answer, spread, numbers)


START = [1, 9, 9, 5, 0, 0, 3, 9]  # the question's tokens would win if they were asked
END = [1, 9, 9, 4, 0, 0, 7, 9]


def test_the_best_span_lies_in_the_context():
    (answer,) = find_answers([window(START, END)], CONTEXT, Search())
    assert (answer.answer, answer.start, answer.end) == ("Paris is in France", 0, 18)
    places = [0, 3, 4, 5, 6]
    assert answer.score == pytest.approx(
        softmax(np.array(START)[places])[1] * softmax(np.array(END)[places])[4], rel=1e-9
    )


def test_answers_are_no_longer_than_asked():
    (answer,) = find_answers([window(START, END)], CONTEXT, Search(max_answer_len=3))
    assert answer.answer == "France"


def test_several_answers_come_best_first_and_differ():
    answers = find_answers([window(START, END)], CONTEXT, Search(top_k=3))
    assert [answer.answer for answer in answers] == ["Paris is in France", "France", "Paris"]
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)


def test_fewer_spans_than_asked_give_fewer_answers():
    assert len(find_answers([window(START, END)], CONTEXT, Search(top_k=99))) == 10


def test_no_answer_competes_where_it_is_asked_for():
    start, end = [9, 0, 0, 5, 0, 0, 3, 0], [9, 0, 0, 4, 0, 0, 6, 0]
    (answer,) = find_answers([window(start, end)], CONTEXT, Search(handle_impossible_answer=True))
    assert (answer.answer, answer.start, answer.end) == ("", 0, 0)
    sure = window(START, END)
    for windows in ([window(start, end), sure], [sure, window(start, end)]):
        (answer,) = find_answers(windows, CONTEXT, Search(handle_impossible_answer=True))
        assert answer.answer == "Paris is in France"  # the least no-answer score of all windows counts


def test_spans_grow_to_whole_words():
    offsets, words = [(0, 3), (3, 5), (6, 8), (9, 18)], [0, 0, 1, 2]
    start, end = [0, 0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 0, 0, 9, 0, 0]
    parts = window(start, end, words=words, offsets=offsets)
    assert find_answers([parts], CONTEXT, Search())[0].answer == "Paris is"
    assert find_answers([parts], CONTEXT, Search(align_to_words=False))[0].answer == "is is"


def test_equal_answers_of_windows_are_added_up():
    (one,) = find_answers([window(START, END)], CONTEXT, Search())
    (two,) = find_answers([window(START, END)] * 2, CONTEXT, Search())
    assert two.score == pytest.approx(2 * one.score)
    assert (two.start, two.end) == (one.start, one.end)


@pytest.mark.parametrize("arguments", [{"top_k": 0}, {"top_k": True}, {"max_answer_len": 0}, {"max_answer_len": 1.5}])
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        Search(**arguments)


@settings(deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 6), st.integers(1, 40))
def test_spans_are_the_best_never_inverted_and_inside(data, count, longest, top_k):
    start, end = (softmax(data.draw(arrays.arrays(float, count, elements=st.floats(-8, 8)))) for _ in range(2))
    allowed = data.draw(arrays.arrays(bool, count))
    found = best_spans(start, end, allowed, top_k, longest)
    possible = [
        start[i] * end[j]
        for i in range(count)
        for j in range(i, min(i + longest, count))
        if allowed[i] and allowed[j]
    ]  # fmt: skip
    assert [score for _, _, score in found] == sorted(possible, reverse=True)[:top_k]
    assert all(first <= last < first + longest and allowed[first] and allowed[last] for first, last, _ in found)


@settings(deadline=None)
@given(st.data(), st.integers(1, 5), st.booleans(), st.booleans())
def test_answers_are_pieces_of_the_context(data, top_k, align, impossible):
    logits = arrays.arrays(float, 8, elements=st.floats(-30, 30))
    windows = [window(data.draw(logits), data.draw(logits)) for _ in range(2)]
    search = Search(top_k, 15, impossible, align)
    answers = find_answers(windows, CONTEXT, search)
    assert 1 <= len(answers) <= top_k
    for answer in answers:
        assert 0 <= answer.start <= answer.end <= len(CONTEXT)
        assert CONTEXT[answer.start : answer.end] == answer.answer
        assert answer.score >= 0
