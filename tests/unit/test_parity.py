"""Intervals and verdicts: a verdict is taken on the worse end, and doubt never passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.spec.parity import BUDGETS, Check, judge, mean_interval, share_interval

HOLDS = Check("cosine", 0.995, 0.99, passed=True)
FAILS = Check("agreement", 0.85, 0.90, passed=False)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(475, 500, 0.9272, 0.9659), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662)],
)
def test_share_interval_is_wilsons(hits, count, low, high):
    interval = share_interval(hits, count)
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_share_interval_holds_its_estimate(case):
    interval = share_interval(*case)
    assert 0 <= interval.low <= interval.estimate + 1e-12
    assert interval.estimate <= interval.high + 1e-12
    assert interval.high <= 1


def test_mean_interval_narrows_with_samples():
    few, many = mean_interval([0.9, 1.0] * 10), mean_interval([0.9, 1.0] * 1000)
    assert few.low < many.low < 0.95 < many.high < few.high
    assert math.isinf(mean_interval([0.9]).low)


def test_a_failed_check_fails_whatever_else_holds():
    parity = judge([HOLDS, FAILS], [])
    assert parity.verdict == "fail"
    assert "agreement 0.8500 against 0.9" in parity.reason


def test_doubt_is_never_a_pass():
    assert judge([HOLDS], ["too few texts"]).verdict == "unproven"
    assert judge([HOLDS, FAILS], ["too few texts"]).verdict == "fail"
    assert judge([HOLDS], []).verdict == "pass"


def test_a_wide_interval_fails_alone_and_adds_to_doubt_where_there_is_some():
    wide = Check("agreement", 0.72, 0.90, passed=False, interval=share_interval(10, 10))
    missed = Check("agreement", 0.5, 0.90, passed=False, interval=share_interval(60, 100))
    assert judge([wide], []).verdict == "fail"
    assert judge([wide], ["10 texts"]).verdict == "unproven"
    assert judge([missed], ["10 texts"]).verdict == "fail"


def test_the_default_budget_is_the_one_promised():
    budget = BUDGETS["int8"]
    assert (budget.mean_cosine_min, budget.agreement_min) == (0.99, 0.90)
    assert BUDGETS["float32"].mean_cosine_min > budget.mean_cosine_min
