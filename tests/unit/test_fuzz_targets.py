"""The targets of ``fuzz/`` hold on mutated seeds: typed refusals and nothing else."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgekit

FUZZ = Path(edgekit.__file__).parents[1] / "fuzz"


def load_targets():
    spec = importlib.util.spec_from_file_location("fuzz_targets", FUZZ / "targets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


targets = load_targets()


@st.composite
def mutated(draw, seed):
    """A seed with some bytes exchanged, cut out, doubled or put in."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 4))):
        place, length = draw(st.integers(0, len(data))), draw(st.integers(0, 64))
        found, made = bytes(data[place : place + length]), draw(st.binary(max_size=64))
        data[place : place + length] = draw(st.sampled_from((b"", made, found * 2, made + found)))
    return bytes(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_takes_its_seeds(name):
    assert targets.seeds(name)
    for seed in targets.seeds(name):
        targets.TARGETS[name](seed)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_holds_on_what_is_nearly_sound(name):
    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(targets.seeds(name)).flatmap(mutated))
    def hold(data):
        targets.TARGETS[name](data)

    hold()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_holds_on_anything(name):
    @settings(max_examples=40, deadline=None)
    @given(st.binary(max_size=2000))
    def hold(data):
        targets.TARGETS[name](data)

    hold()


def test_a_target_lets_another_error_through(monkeypatch):
    def fail(*_):
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(targets.Manifest, "from_json", fail)
    with pytest.raises(ValueError, match="nobody foresaw"):
        targets.manifest(b"{}")
