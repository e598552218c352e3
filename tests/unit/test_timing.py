import time

import pytest

from edgekit.errors import UsageError
from edgekit.runtime.timing import Sample, time_calls


@pytest.mark.parametrize(("percent", "least"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_needs_enough_samples(percent, least):
    assert Sample(tuple(range(least - 1))).percentile_ms(percent) is None
    value = Sample(tuple(float(i) for i in reversed(range(1, least + 1)))).percentile_ms(percent)
    assert sum(i <= value for i in range(1, least + 1)) >= least * percent / 100 > value - 1


def test_other_percentiles_are_not_given():
    with pytest.raises(UsageError, match="90, 95, 99"):
        Sample((1.0,) * 1000).percentile_ms(50)


def test_the_median_is_of_all_samples():
    assert Sample((3.0, 1.0, 2.0, 10.0)).median_ms == 2.5


def test_calls_are_interleaved_and_rotated():
    log = []
    samples = time_calls({name: lambda name=name: log.append(name) for name in "abc"}, rounds=3, warmup=0)
    assert "".join(log) == "abcbcacab"
    assert {name: len(sample.values_ms) for name, sample in samples.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_warmup_is_not_timed():
    slow_at_first = iter([0.05, 0, 0])
    samples = time_calls({"call": lambda: time.sleep(next(slow_at_first))}, rounds=2, warmup=1)
    assert max(samples["call"].values_ms) < 50


def test_durations_are_in_milliseconds():
    assert 20 <= time_calls({"nap": lambda: time.sleep(0.02)}, rounds=1, warmup=0)["nap"].values_ms[0] < 2000


@pytest.mark.parametrize(("calls", "rounds", "warmup"), [({}, 1, 0), ({"a": int}, 0, 0), ({"a": int}, 1, -1)])
def test_nothing_to_time_is_an_error(calls, rounds, warmup):
    with pytest.raises(UsageError, match="nothing to time"):
        time_calls(calls, rounds=rounds, warmup=warmup)
