import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import IntegrityError
from edgekit.runtime.pooling import normalize, pool
from edgekit.spec.settings.embedding import POOLINGS

STATES = np.array([[[1, -4], [3, 2], [5, 9]], [[-1, -2], [-3, -4], [7, 7]]], np.float32)
FULL = np.array([[1, 1, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [[3, 7 / 3], [-2, -3]]),
        ("mean_sqrt_len_tokens", [[9 / 3**0.5, 7 / 3**0.5], [-4 / 2**0.5, -6 / 2**0.5]]),
        ("cls", [[1, -4], [-1, -2]]),
        ("max", [[5, 9], [-1, -2]]),
        ("lasttoken", [[5, 9], [-3, -4]]),
    ],
)
def test_each_pooling_is_its_definition(how, expected):
    np.testing.assert_allclose(pool(STATES, FULL, how), expected, rtol=1e-6)


def test_left_padding_is_skipped():
    left = np.array([[0, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(pool(STATES, left, "cls"), [[3, 2], [7, 7]])
    np.testing.assert_array_equal(pool(STATES, left, "lasttoken"), [[5, 9], [7, 7]])


@pytest.mark.parametrize("how", ["mean", "mean_sqrt_len_tokens", "lasttoken"])
def test_no_tokens_give_zeros(how):
    np.testing.assert_array_equal(pool(STATES, np.zeros_like(FULL), how), np.zeros((2, 2)))


@pytest.mark.parametrize("how", POOLINGS)
@given(data=st.data())
def test_padding_on_the_right_changes_nothing(how, data):
    length, padding = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    states = rng.normal(size=(2, length + padding, 3)).astype(np.float32)
    mask = np.concatenate([np.ones((2, length), np.int64), np.zeros((2, padding), np.int64)], axis=1)
    alone = pool(states[:, :length], mask[:, :length], how)
    np.testing.assert_allclose(pool(states, mask, how), alone, atol=1e-6)
    assert alone.dtype == np.float32


def test_an_unknown_pooling_is_refused():
    with pytest.raises(IntegrityError, match="weightedmean"):
        pool(STATES, FULL, "weightedmean")


def test_lengths_become_one_and_zero_stays_zero():
    vectors = np.array([[3, 4], [0, 0], [1e-20, 0]], np.float32)
    np.testing.assert_allclose(normalize(vectors), [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-7)
