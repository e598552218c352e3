import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.checks.statistics import shift, signed_rank_tail, walsh_averages

VALUES = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 6)), min_size=1, max_size=12)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_distribution_is_what_counting_every_choice_of_signs_gives(count):
    sums = [
        sum(rank for rank, sign in enumerate(signs, 1) if sign) for signs in itertools.product((0, 1), repeat=count)
    ]
    for statistic in range(-1, count * (count + 1) // 2 + 1):
        assert signed_rank_tail(count, statistic) == sum(value <= statistic for value in sums) / 2**count


@pytest.mark.parametrize("count", [8, 21, 40])
def test_the_distribution_is_scipys(count):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(0.2, 1, count)
    test = stats.wilcoxon(values, alternative="less", method="exact")
    assert signed_rank_tail(count, int(test.statistic)) == pytest.approx(test.pvalue, rel=1e-9)


@given(VALUES)
def test_the_estimate_is_the_median_of_all_means_of_two(values):
    averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2)]
    assert shift(values, 0.05).estimate == pytest.approx(float(np.median(averages)))
    assert walsh_averages(values) == pytest.approx(sorted(averages))


@given(VALUES, st.floats(-10, 10), st.floats(0.1, 10))
def test_moving_and_stretching_the_values_does_the_same_to_the_interval(values, by, factor):
    before, after = shift(values, 0.1), shift([factor * value + by for value in values], 0.1)
    for old, new in zip(
        (before.low, before.estimate, before.high), (after.low, after.estimate, after.high), strict=True
    ):
        assert new == pytest.approx(factor * old + by, abs=1e-6)


@given(VALUES)
def test_turning_the_values_around_turns_the_interval_around(values):
    before, after = shift(values, 0.1), shift([-value for value in values], 0.1)
    assert (after.low, after.high) == pytest.approx((-before.high, -before.low))


def test_the_interval_is_the_set_of_shifts_that_the_test_does_not_reject():
    stats = pytest.importorskip("scipy.stats")
    values, miss = np.random.default_rng(3).normal(1, 2, 15), 0.025
    found = shift(values.tolist(), miss)
    for end, alternative, side in ((found.low, "greater", 1), (found.high, "less", -1)):
        inside, outside = end + side * 1e-9, end - side * 1e-9
        assert stats.wilcoxon(values - inside, alternative=alternative, method="exact").pvalue > miss
        assert stats.wilcoxon(values - outside, alternative=alternative, method="exact").pvalue <= miss


def test_too_few_values_leave_the_interval_open():
    found = shift([0.0, 1.0, 2.0, 3.0], 0.05)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert shift([0.0, 1.0, 2.0, 3.0, 4.0], 0.05).low == 0.0


def test_one_wild_value_moves_the_estimate_little():
    calm = [0.01 * value for value in range(-5, 6)]
    assert abs(shift([*calm, 1000.0], 0.05).estimate) < 0.02


@pytest.mark.parametrize(
    "draw", [random.Random.gauss, lambda rng, mu, sigma: mu + sigma * rng.choice((-1, 1)) * rng.expovariate(1)]
)
def test_the_interval_misses_no_more_often_than_it_says(draw):
    rng, missed, rounds = random.Random(5), [0, 0], 1500  # noqa: S311 - seeded on purpose
    for _ in range(rounds):
        found = shift([draw(rng, 0.0, 1.0) for _ in range(9)], 0.05)
        missed = [missed[0] + (found.low > 0), missed[1] + (found.high < 0)]
    # Binomial(1500, 0.05) exceeds 104 once in 2,000 runs; the draws are seeded.
    assert max(missed) <= 104
    assert min(missed) >= 30  # and it is not wide for nothing


@pytest.mark.parametrize(("values", "miss"), [([], 0.05), ([1.0, math.nan], 0.05), ([1.0], 0.0), ([1.0], 0.5)])
def test_what_has_no_shift_is_refused(values, miss):
    with pytest.raises(ValueError, match="no shift"):
        shift(values, miss)
