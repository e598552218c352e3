"""Speeds of generation: what is timed, in turns, and how seconds become tokens a second."""

import pytest

from edgekit.errors import InputError, UsageError
from edgekit.runtime import load
from edgekit.runtime.generation_timing import Speed, time_generation
from edgekit.runtime.timing import Sample

from .tiny_generator import write_generator


@pytest.fixture
def model(tmp_path):
    with load(write_generator(tmp_path / "bundle")) as model:
        yield model


def test_tokens_a_second_are_those_of_the_medians():
    speed = Speed(128, Sample((900.0, 1000.0, 4000.0)), Sample((20.0, 25.0, 30.0)))
    assert speed.prefill_tokens_per_s == 128
    assert speed.decode_tokens_per_s == 40


def test_every_round_has_one_prefill_and_the_settled_steps(model):
    speeds = time_generation({"one": model, "other": model}, rounds=3, prompt_tokens=8, new_tokens=6)
    assert list(speeds) == ["one", "other"]
    for speed in speeds.values():
        assert len(speed.prefill.values_ms) == 3
        assert len(speed.step.values_ms) == 3 * (6 - 1 - 2)
        assert speed.prefill_tokens_per_s > 0
        assert speed.decode_tokens_per_s > 0


@pytest.mark.parametrize("asked", [{"rounds": 0}, {"rounds": 1, "prompt_tokens": 0}, {"rounds": 1, "new_tokens": 3}])
def test_nothing_to_time_is_a_usage_error(model, asked):
    with pytest.raises(UsageError, match="nothing to time"):
        time_generation({"one": model}, **asked)


def test_a_prompt_that_is_too_long_is_said(model):
    with pytest.raises(InputError, match="takes at most"):
        time_generation({"one": model}, rounds=1, prompt_tokens=64)
