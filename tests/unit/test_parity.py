"""Intervals and verdicts: a verdict is taken on the worse end, and doubt never passes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import RecordError, UsageError
from edgekit.spec.parity import (
    BUDGETS,
    Budget,
    Check,
    Interval,
    Parity,
    judge,
    mean_interval,
    share_interval,
    with_limits,
)
from edgekit.spec.reader import Table, parse_json

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


@pytest.mark.parametrize("measure", BUDGETS)
def test_a_bound_that_was_asked_for_takes_the_place_of_the_task_s_own(measure):
    before = BUDGETS[measure]
    name = next(iter(before["int8"].limits))
    after = with_limits(before, {name: 0.123})
    for precision, budget in after.items():
        own = before[precision]
        expected = own.limits if precision == "float32" else {**own.limits, name: 0.123}
        assert (budget.samples_min, budget.limits) == (own.samples_min, expected)
    assert before["int8"].limits[name] != 0.123  # the table itself stays


def test_a_bound_that_one_precision_has_is_given_to_no_other():
    own = {"int8": Budget(100, {"agreement_min": 0.9}), "int4": Budget(30, {"agreement_min": 0.8, "shift_max": 0.1})}
    after = with_limits(own, {"shift_max": 0.2})
    assert after["int8"] == own["int8"]
    assert after["int4"].limits == {"agreement_min": 0.8, "shift_max": 0.2}


@given(st.sampled_from(sorted(BUDGETS)), st.data())
def test_bounds_change_what_they_name_and_nothing_else(measure, data):
    names = sorted({name for budget in BUDGETS[measure].values() for name in budget.limits})
    limits = data.draw(st.dictionaries(st.sampled_from(names), st.floats(0, 2)))
    after = with_limits(BUDGETS[measure], limits)
    assert list(after) == list(BUDGETS[measure])
    for precision, own in BUDGETS[measure].items():
        assert list(after[precision].limits) == list(own.limits)
        for name, bound in own.limits.items():
            asked = limits.get(name, bound) if precision != "float32" else bound
            assert after[precision].limits[name] == asked


@pytest.mark.parametrize(
    ("name", "hint"), [("neighbors_min", "did you mean 'neighbours_min'?"), ("", "bounds: mean_cosine_min, ")]
)
def test_a_bound_that_no_budget_has_is_refused_with_a_hint(name, hint):
    with pytest.raises(UsageError, match="no bound of this task's budget") as refused:
        with_limits(BUDGETS["vectors"], {"neighbours_min": 0.95, name: 0.9})
    assert hint in refused.value.hint


@pytest.mark.parametrize("measure", ["decisions", "language"])
def test_a_bound_of_another_measure_is_refused(measure):
    with pytest.raises(UsageError):
        with_limits(BUDGETS[measure], {"neighbours_min": 0.95})


NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
INTERVALS = st.builds(Interval, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 10**6))
CHECKS = st.builds(Check, WORDS, NUMBERS, NUMBERS, st.booleans(), st.none() | INTERVALS)
PARITIES = st.builds(
    Parity, st.sampled_from(["pass", "fail", "unproven"]), WORDS, st.lists(CHECKS, max_size=4).map(tuple)
)


def reread(parity):
    return Parity.read(parse_json(json.dumps(parity.to_json()).encode(), "parity"))


@given(PARITIES)
def test_a_parity_is_read_as_it_was_written(parity):
    assert reread(parity) == parity


@given(st.builds(Check, WORDS, st.floats(-2, 2), st.floats(-2, 2), st.booleans()))
def test_reading_what_was_read_changes_nothing_more(check):
    once = reread(Parity("pass", "", (check,)))
    assert reread(once) == once
    assert once.checks[0].measured == pytest.approx(check.measured, abs=1e-6)
    assert once.checks[0].bound == check.bound


@pytest.mark.parametrize("key", ["verdict", "reason", "checks"])
def test_a_parity_that_lacks_anything_is_refused_with_its_key(key):
    document = judge([HOLDS], []).to_json()
    del document[key]
    with pytest.raises(RecordError, match=f"missing key '{key}'"):
        Parity.read(Table(document, "parity"))


@pytest.mark.parametrize(
    ("key", "value"), [("measured", "0.9"), ("passed", 1), ("name", None), ("bound", True), ("interval", [0.9])]
)
def test_a_check_of_another_type_is_refused_with_its_key(key, value):
    document = Check("agreement", 0.93, 0.9, passed=True, interval=share_interval(93, 100)).to_json()
    with pytest.raises(RecordError, match=key):
        Check.read(Table(document | {key: value}, "check"))


def test_an_interval_without_its_samples_is_refused():
    document = share_interval(93, 100).to_json()
    del document["samples"]
    with pytest.raises(RecordError, match="samples"):
        Interval.read(Table(document, "interval"))


def test_what_one_sample_tells_is_written_as_numbers_that_json_knows():
    interval = mean_interval([0.5])
    check = Check("distance", interval.high, 0.1, passed=False, interval=interval)
    text = json.dumps(check.to_json(), allow_nan=False)
    read = Check.read(Table(json.loads(text), "check"))
    assert (read.measured, read.interval.low, read.interval.high) == (math.inf, -math.inf, math.inf)
    assert read.undecided
