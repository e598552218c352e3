"""Faults of bundles and of environments, each told apart: a bundle that is wrong, one that cannot run, a place that
cannot be trusted, and one that is not there."""

import numpy as np
import pytest

from edgekit import catalog
from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.portability import Outcome
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Ran
from edgekit.portability.places import Native
from edgekit.runtime.golden import Golden, write_golden
from edgekit.runtime.host import Host, detect_host
from tests.unit.tiny_model import DIMENSION, GOLDEN_TEXTS, write_tiny_model

from .bundles import write_int8, write_two
from .places import BEFORE_THE_PROBES, LIMITS, Faulty, Pretended, proved, right

here_is_avx2 = pytest.mark.skipif(
    not {"avx2", "fma"} <= detect_host().cpu_features or "avx512_vnni" in detect_host().cpu_features,
    reason="needs an x86-64 CPU whose int8 products saturate",
)
native_runs_it = pytest.mark.skipif(
    not ({"avx2", "fma"} <= detect_host().cpu_features or "asimd" in detect_host().cpu_features),
    reason="the tiny bundle serves AVX2 and NEON",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "bundle")


@native_runs_it
def test_a_good_bundle_passes_on_this_machine(tiny):
    report, proof = proved(tiny, Native())
    assert proof.outcome is Outcome.PASS, proof.reason
    assert (proof.golden.inputs, proof.native.inputs) == (3, 3 + 5)
    assert proof.native.worst == pytest.approx(1)
    assert [probe.passed for probe in proof.probes] == [True]
    assert report.exit_code == 0


@native_runs_it
def test_golden_cases_of_another_model_are_wrong_answers(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(3, DIMENSION)).astype(np.float32)
    cases = [Golden({"text": text}, {"embedding": vector}) for text, vector in zip(GOLDEN_TEXTS, vectors, strict=True)]
    files = {"golden/cases.json": write_golden("feature-extraction", cases)}
    report, proof = proved(write_tiny_model(tmp_path / "bundle", files=files), Native())
    assert proof.outcome is Outcome.WRONG
    assert "golden cases: worst agreement" in proof.reason
    assert report.exit_code == 5


@here_is_avx2
def test_a_full_range_file_declared_for_avx2_answers_wrongly_there(tmp_path):
    report, proof = proved(write_int8(tmp_path / "whole"), Native(), target="x86_64-avx2")
    assert proof.outcome is Outcome.WRONG
    assert proof.golden.worst < 0.99
    assert report.exit_code == 5
    _, limited = proved(write_int8(tmp_path / "limited", largest=64), Native(), target="x86_64-avx2")
    assert limited.outcome is Outcome.PASS, limited.reason


def test_a_file_that_could_saturate_is_wrong_on_avx2_even_where_no_sample_hits_it(tmp_path):
    bundle = write_int8(tmp_path / "whole")
    report, proof = proved(bundle, Pretended(_golden_answers), target="x86_64-avx2")
    assert (proof.outcome, report.exit_code) == (Outcome.WRONG, 5)
    assert "neighbouring weights add up to 254, 128 fit 16 bits" in proof.reason


def test_a_variant_swapped_between_targets_is_found(tmp_path):
    good, swapped = write_two(tmp_path / "good"), write_two(tmp_path / "swapped", swapped=True)
    _, proof = proved(swapped, Pretended(_golden_answers), target="x86_64-avx2")
    assert (proof.variant, proof.outcome) == ("whole", Outcome.WRONG)
    _, proof = proved(good, Pretended(_golden_answers), target="x86_64-avx2")
    assert (proof.variant, proof.outcome) == ("limited", Outcome.PASS), proof.reason


@native_runs_it
@pytest.mark.parametrize(
    ("fault", "limits", "says"),
    [
        (
            "import os; os.kill(os.getpid(), 4)",
            LIMITS,
            "crashed while it opened the variant: illegal instruction (SIGILL)",
        ),
        (
            "import time; time.sleep(600)",
            Limits(10, 2_000_000_000),
            "hung while it opened the variant: no end after 10 s",
        ),
        ("import time; kept = b'x' * (900 << 20); time.sleep(600)", Limits(90, 500_000_000), "ran out of memory"),
        ("raise MemoryError", LIMITS, "ran out of memory"),
    ],
)
def test_a_bundle_that_ends_its_environment_cannot_run_there(fault, limits, says, tiny, tmp_path):
    report, proof = proved(tiny, Faulty(tmp_path, fault), limits=limits)
    assert proof.outcome is Outcome.CANNOT_RUN
    assert says in proof.reason
    assert report.exit_code == 8


@native_runs_it
def test_an_environment_that_ends_before_the_bundle_is_opened_is_not_trusted(tiny, tmp_path):
    report, proof = proved(tiny, Faulty(tmp_path, "import os; os.kill(os.getpid(), 4)", at=BEFORE_THE_PROBES))
    assert proof.outcome is Outcome.NOT_TRUSTED
    assert proof.reason.startswith("environment not trusted: crashed before the bundle was opened: illegal instruction")
    assert report.exit_code == 9


@pytest.mark.parametrize("answers", ["right", "wrong"])
def test_an_environment_that_misses_a_probe_is_not_trusted_whatever_the_bundle_answers(answers, tiny):
    def ran(job):
        probes = tuple(probe.judge({name: 2 * array for name, array in probe.expected.items()}) for probe in job.probes)
        given = _golden_answers(job).answers
        return Ran(
            probes=probes,
            answers=given if answers == "right" else tuple({"embedding": 0 * a["embedding"]} for a in given),
        )

    report, proof = proved(tiny, Pretended(ran))
    assert (proof.outcome, report.exit_code) == (Outcome.NOT_TRUSTED, 9)
    assert "its probe of float32 is off by 1 of the largest value" in proof.reason


def test_a_probe_that_gives_nothing_finite_is_missed(tiny):
    def ran(job):
        probes = tuple(
            probe.judge({name: np.full(array.shape, np.nan) for name, array in probe.expected.items()})
            for probe in job.probes
        )
        return Ran(probes=probes, answers=_golden_answers(job).answers)

    _, proof = proved(tiny, Pretended(ran))
    assert proof.outcome is Outcome.NOT_TRUSTED
    assert "no finite answer" in proof.reason


def test_an_environment_that_is_not_there_is_no_pass_and_names_what_to_install(tiny):
    place = Pretended(right, missing=HostError("qemu is not on this machine", hint="apt install qemu-user-static"))
    report, proof = proved(tiny, place)
    assert (proof.outcome, report.exit_code, place.asked) == (Outcome.NOT_AVAILABLE, 9, 0)
    assert report.error().hint == "apt install qemu-user-static"


def test_a_cpu_that_lacks_a_feature_is_refused_by_its_name_before_anything_runs(tiny):
    place = Pretended(right, host=Host("x86_64", frozenset({"avx"}), "an old one", "linux"))
    report, proof = proved(tiny, place)
    assert (proof.outcome, report.exit_code, place.asked) == (Outcome.CANNOT_RUN, 8, 0)
    assert "x86_64-avx2 needs avx2, fma" in proof.reason


def test_a_device_with_too_little_room_is_over_its_limit(tiny):
    import dataclasses

    small = dataclasses.replace(catalog.devices()["aws-lambda-x86_64"], disk_bytes=1000)
    report, proof = proved(tiny, Pretended(right), device=small)
    assert (proof.outcome, report.exit_code) == (Outcome.OVER_LIMIT, 6)
    assert "disk" in proof.reason
    _, proof = proved(tiny, Pretended(right), device=catalog.devices()["aws-lambda-x86_64"])
    assert proof.outcome is Outcome.PASS
    assert [(limit.name, limit.kept) for limit in proof.limits] == [("disk", True), ("memory", True)]


def test_what_is_only_tried_does_not_decide(tiny):
    place = Pretended(right, host=Host("riscv64", frozenset(), "another", "linux"))
    report, proof = proved(tiny, place, decides=False)
    assert (proof.outcome, proof.decides, report.exit_code) == (Outcome.NOT_CLAIMED, False, 0)


def test_the_same_findings_are_the_same_bytes(tiny):
    first, _ = proved(tiny, Pretended(right))
    again, _ = proved(tiny, Pretended(right))
    assert first.to_bytes() == again.to_bytes()
    assert str(Bundle.open(tiny).root).encode() not in first.to_bytes()


def _golden_answers(job):
    """Exactly what is expected of the golden cases, and of the rest what this machine gives."""
    return right(job)
