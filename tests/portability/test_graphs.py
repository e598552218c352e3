"""Probes, kernel classes and tapes: what an environment is asked, and how answers come back from one without Python."""

import numpy as np
import onnxruntime as ort
import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.portability.kernels import kernels_of
from edgekit.portability.probes import known_good
from edgekit.portability.sample import parity_sample
from edgekit.portability.saturation import largest_pair
from edgekit.portability.tape import Call, record, replay
from edgekit.portability.tolerances import FLOAT32, TOLERANCES, U8S8
from edgekit.runtime.golden import Golden
from edgekit.runtime.loading import open_variant
from tests.unit.tiny_generator import write_generator
from tests.unit.tiny_model import write_tiny_model

from .bundles import write_int8


@pytest.mark.parametrize("probe", known_good(TOLERANCES), ids=lambda probe: probe.kernels)
def test_this_machine_passes_every_probe_and_a_broken_kernel_none(probe):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.model, options, providers=["CPUExecutionProvider"])
    found = dict(zip([node.name for node in session.get_outputs()], session.run(None, probe.feeds), strict=True))
    assert probe.judge(found).passed, probe.judge(found).error
    name, array = next((name, array) for name, array in found.items() if name == "y")
    broken = array.copy()
    broken[0] *= 1.2  # one row saturated, say
    assert not probe.judge(found | {name: broken}).passed
    assert not probe.judge({}).passed


def test_probes_are_the_same_bytes_each_time():
    first, again = known_good(TOLERANCES), known_good(TOLERANCES)
    assert [probe.model for probe in first] == [probe.model for probe in again]


def test_kernel_classes_are_read_from_the_graph(tmp_path):
    plain, int8 = write_tiny_model(tmp_path / "plain"), write_int8(tmp_path / "int8")
    assert [kernels_of(b, b.manifest.variants[0]) for b in map(Bundle.open, (plain, int8))] == [
        (FLOAT32,),
        (FLOAT32, U8S8),
    ]


@pytest.mark.parametrize(("largest", "pair"), [(64, 128), (127, 254)])
def test_the_largest_pair_of_neighbouring_weights_is_found(largest, pair, tmp_path):
    bundle = Bundle.open(write_int8(tmp_path / "int8", largest=largest))
    assert largest_pair(bundle, bundle.manifest.variants[0]) == pair


def test_the_sample_is_the_golden_cases_and_halves_of_short_texts():
    cases = [Golden({"text": "a b c"}, {"value": np.ones(1)}), Golden({"text": "x" * 200}, {"value": np.ones(1)})]
    assert [case.input["text"] for case in parity_sample(cases)[2:]] == ["a", "b c"]
    pairs = [Golden({"question": "a b", "context": "c d"}, {"value": np.ones(1)})]
    assert len(parity_sample(pairs)) == 1


ASKED = {
    write_tiny_model: [{"text": "word1 word2"}, {"text": "word3"}],
    write_generator: [{"text": "w3 w4 w5 w6 w7 w8"}, {"text": "w3 w4 w5", "target": "w6 w7"}],
}


@pytest.mark.parametrize("write", ASKED)
def test_a_replayed_tape_gives_the_very_answers(write, tmp_path):
    bundle = Bundle.open(write(tmp_path / "bundle"))
    variant = bundle.manifest.variants[0]
    with open_variant(bundle, variant, threads=1) as model:
        sample = [Golden(asked, {}) for asked in ASKED[write]]
        answers = [model.raw([case.input])[0] for case in sample]
    calls = record(bundle, variant, sample)
    assert all(calls)
    for answer, found in zip(answers, replay(bundle, variant, sample, calls), strict=True):
        assert set(answer) == set(found)
        assert all(np.array_equal(answer[name], found[name]) for name in answer)


def test_what_another_runtime_gave_is_what_the_replay_answers(tmp_path):
    bundle = Bundle.open(write_tiny_model(tmp_path / "bundle"))
    variant = bundle.manifest.variants[0]
    with open_variant(bundle, variant, threads=1) as model:
        sample = model.golden()
    calls = record(bundle, variant, sample)
    turned = [[Call(c.component, c.feeds, {n: -a for n, a in c.outputs.items()}) for c in row] for row in calls]
    straight, back = replay(bundle, variant, sample, calls), replay(bundle, variant, sample, turned)
    assert all(np.allclose(one["embedding"], -other["embedding"]) for one, other in zip(straight, back, strict=True))
    with pytest.raises(HostError, match="another call"):
        replay(bundle, variant, sample, [calls[1], calls[0], calls[2]])
