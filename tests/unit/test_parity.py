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
    limits = BUDGETS["vectors"]["int8"].limits
    assert (limits["mean_cosine_min"], limits["neighbours_min"]) == (0.99, 0.90)


@pytest.mark.parametrize("measure", BUDGETS)
def test_no_quantization_has_a_tighter_budget_than_float(measure):
    exact = BUDGETS[measure]["float32"].limits
    for budget in BUDGETS[measure].values():
        for name, bound in budget.limits.items():
            assert bound >= exact[name] if name.endswith("_max") else bound <= exact[name]
