"""How alike raw answers are, by kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.runtime.answers import KINDS, agreement, kind, sigmoid, softmax

ROWS = arrays.arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32))


@pytest.mark.parametrize("name", [*KINDS, "logits.start"])
@given(rows=ROWS)
def test_an_answer_agrees_with_itself(name, rows):
    found = agreement({name: rows}, {name: rows})
    assert found == pytest.approx(1) or (kind(name) == "embedding" and not rows.any())


@pytest.mark.parametrize("name", KINDS)
@given(left=ROWS, right=ROWS)
def test_agreement_is_bounded(name, left, right):
    assert -1.0001 <= agreement({name: left}, {name: right}) <= 1.0001


@pytest.mark.parametrize("found", [{}, {"logits": np.zeros(3)}, {"logits": np.full(2, np.nan)}, {"flags": np.zeros(2)}])
def test_what_is_missing_misshapen_or_not_finite_agrees_with_nothing(found):
    assert agreement({"logits": np.zeros(2, np.float32)}, found) == -1


def test_the_worst_row_counts():
    expected = np.array([[9, 0], [9, 0]], np.float32)
    found = np.array([[9, 0], [0, 9]], np.float32)
    assert agreement({"logits": expected}, {"logits": found}) < 0.01


def test_a_single_flag_is_not_vacuous_as_a_softmax_would_be():
    assert agreement({"flags": np.array([9.0])}, {"flags": np.array([-9.0])}) < 0.01


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="names no kind"):
        kind("guess")


@given(ROWS)
def test_probabilities_are_what_they_are_called(rows):
    assert softmax(rows).sum(axis=-1) == pytest.approx(1)
    assert sigmoid(rows) == pytest.approx(1 / (1 + np.exp(-rows.astype(np.float64))))
