"""The environments themselves. What this machine lacks is skipped with its name; all but one are long."""

import os
import shutil
import sys
from pathlib import Path

import onnx
import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.portability import Outcome, prove
from edgekit.portability.asked import Asked
from edgekit.portability.proving import prove_asked
from edgekit.portability.qemu import CPUS, Cpu, Qemu
from edgekit.runtime.host import detect_host
from edgekit.spec.progress import Silent
from edgekit.spec.user_folders import cache_folder
from tests.unit.tiny_model import FOLDER, model_bytes, plain_variant, write_tiny_model

from .bundles import write_int8
from .places import LIMITS

CACHE = cache_folder(os.environ, sys.platform, Path.home())
ARM = "arm64-i8mm"

needs_qemu_x86 = pytest.mark.skipif(
    shutil.which("qemu-x86_64-static") is None or detect_host().architecture != "x86_64",
    reason="needs an x86-64 machine with qemu-user-static",
)
needs_qemu_arm = pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="needs qemu-user-static")
needs_node = pytest.mark.skipif(None in (shutil.which("node"), shutil.which("npm")), reason="needs nodejs and npm")
needs_chromium = pytest.mark.skipif(
    None in (shutil.which("chromium"), shutil.which("npm")), reason="needs chromium and npm"
)


def fetched(prepare):
    """What cannot be downloaded is skipped with the reason."""
    try:
        prepare(Silent())
    except HostError as error:
        pytest.skip(error.message)


def outcome(bundle, name):
    (proof,) = prove(bundle, [name], Silent(), cache=CACHE).proofs
    if proof.outcome is Outcome.NOT_AVAILABLE:
        pytest.skip(proof.reason)
    return proof


@needs_qemu_x86
def test_x86_avx2_by_qemu_is_trusted_and_finds_a_bundle_that_saturates(tmp_path):
    bundle = Bundle.open(write_int8(tmp_path / "whole"))
    haswell = Asked("haswell", Qemu(CPUS["x86_64-avx2"], CACHE))
    (wrong,) = prove_asked(bundle, [haswell], Silent(), LIMITS).proofs
    assert wrong.outcome is Outcome.WRONG, wrong.reason
    assert all(probe.passed for probe in wrong.probes)
    assert wrong.facts["cpu"] == "Haswell"
    assert not wrong.golden.passed


@needs_qemu_x86
@pytest.mark.long
def test_x86_avx2_by_qemu_passes_a_good_bundle(tmp_path):
    proof = outcome(write_int8(tmp_path / "good", largest=64), "x86_64-avx2")
    assert proof.outcome is Outcome.PASS, proof.reason


@needs_qemu_x86
@pytest.mark.long
def test_a_cpu_without_avx2_is_a_refusal_from_within_and_no_crash(tmp_path):
    """The emulator's CPU lacks what its job was chosen for: the device side itself finds out, before numpy."""

    class Pretends(Qemu):
        def host(self):
            return Qemu(CPUS["x86_64-avx2"], CACHE).host()

    old = Pretends(Cpu("x86_64", "Nehalem", ()), CACHE)
    bundle = Bundle.open(write_tiny_model(tmp_path / "bundle"))
    report = prove_asked(bundle, [Asked("nehalem", old)], Silent(), LIMITS)
    (proof,) = report.proofs
    assert (proof.outcome, report.exit_code) == (Outcome.CANNOT_RUN, 8)
    assert "x86_64-avx2 needs avx2, fma" in proof.reason


@needs_qemu_arm
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CPUS if name.startswith("arm64")])
def test_arm_by_qemu_passes_a_good_bundle(name, tmp_path):
    bundle = write_int8(tmp_path / "good", largest=64, targets=("arm64-neon",))
    proof = outcome(bundle, name)
    assert proof.outcome is Outcome.PASS, proof.reason


@needs_qemu_arm
@pytest.mark.long
def test_an_emulator_that_gets_sme_wrong_is_not_trusted_and_blames_no_bundle(tmp_path):
    broken = Qemu(Cpu("arm64", "max", CPUS[ARM].features, CPUS[ARM].identity), CACHE)
    fetched(broken.prepare)
    bundle = Bundle.open(write_int8(tmp_path / "good", largest=64, targets=("arm64-neon",)))
    report = prove_asked(bundle, [Asked("sme", broken)], Silent(), LIMITS)
    (proof,) = report.proofs
    if int(proof.facts["emulator"].split()[1].split(".")[0]) >= 10:
        pytest.skip(f"{proof.facts['emulator']} gets SME right")
    assert (proof.outcome, report.exit_code) == (Outcome.NOT_TRUSTED, 9)
    assert "uint8 by int8" in proof.reason


@needs_node
@pytest.mark.long
def test_webassembly_passes_a_good_bundle(tmp_path):
    proof = outcome(write_int8(tmp_path / "good", largest=64), "wasm")
    assert proof.outcome is Outcome.PASS, proof.reason
    assert not proof.claimed


@needs_node
@pytest.mark.long
def test_an_operator_that_onnxruntime_web_lacks_is_found(tmp_path):
    """Of opset 27, which onnxruntime 1.32 knows and onnxruntime-web 1.30 does not."""
    model = onnx.load_model_from_string(model_bytes())
    model.opset_import[0].version = 27
    files = {f"{FOLDER}/model.onnx": model.SerializeToString()}
    proof = outcome(write_tiny_model(tmp_path / "bundle", files=files, variants=(plain_variant(opset=27),)), "wasm")
    assert proof.outcome is Outcome.CANNOT_RUN
    assert "opset" in proof.reason.lower()
    assert "recipe" in proof.hint


@needs_chromium
@pytest.mark.long
def test_webgpu_says_which_products_it_leaves_to_the_cpu_and_on_which_adapter(tmp_path):
    proof = outcome(write_int8(tmp_path / "good", largest=64), "webgpu")
    assert proof.outcome is Outcome.CANNOT_RUN
    assert "1 MatMulInteger" in proof.reason
    assert proof.facts["adapter"]
    assert proof.facts["software"] in ("true", "false")


@needs_chromium
@pytest.mark.long
def test_webgpu_passes_a_float_bundle(tmp_path):
    proof = outcome(write_tiny_model(tmp_path / "bundle"), "webgpu")
    assert proof.outcome is Outcome.PASS, proof.reason


@pytest.mark.long
def test_an_opset_too_new_for_the_oldest_onnxruntime_is_found_and_the_newest_runs_it(tmp_path):
    model = onnx.load_model_from_string(model_bytes())
    model.opset_import[0].version = 26
    files = {f"{FOLDER}/model.onnx": model.SerializeToString()}
    bundle = write_tiny_model(tmp_path / "bundle", files=files, variants=(plain_variant(opset=26),))
    oldest = outcome(bundle, "onnxruntime-oldest")
    assert (oldest.outcome, oldest.facts["onnxruntime"]) == (Outcome.CANNOT_RUN, "1.24.1")
    assert "1.24.1 cannot open it" in oldest.reason
    assert outcome(bundle, "onnxruntime-newest").outcome is Outcome.PASS
