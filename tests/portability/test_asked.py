"""What a name stands for, what a missing program means, and what a CPU without AVX2 hears before anything crashes."""

import builtins
import json
import shutil
import sys

import pytest

from edgekit import catalog
from edgekit.bundle.reading import Bundle
from edgekit.cli import main
from edgekit.errors import HostError, UsageError
from edgekit.portability import Agreement, Outcome, Probe, Proof, Report, asked
from edgekit.portability.asked import ENVIRONMENTS, Asked, asked_for, uncovered
from edgekit.portability.proving import prove_asked
from edgekit.portability.qemu import CPUS, cpuinfo_of
from edgekit.runtime import load, loading
from edgekit.runtime.host import Host, parse_cpuinfo
from edgekit.spec.progress import Silent
from tests.unit.tiny_model import write_tiny_model

from .places import LIMITS, Pretended, right

PLAIN_PC = ("x86_64", frozenset({"avx", "avx2", "fma"}), frozenset({"CPUExecutionProvider"}))


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "_this_machine", lambda: PLAIN_PC)
    return write_tiny_model(tmp_path / "bundle")


def kinds(names, bundle, tmp_path):
    found = asked_for(names, Bundle.open(bundle).manifest, tmp_path)
    return [(one.name, one.place.kind if one.place else None, one.decides) for one in found]


def test_all_is_every_environment_and_only_tries(bundle, tmp_path):
    found = kinds(["all"], bundle, tmp_path)
    assert [name for name, _, _ in found] == list(ENVIRONMENTS)
    assert [kind for _, kind, _ in found] == ["native", *["qemu"] * 4, "wasm", "webgpu", "onnxruntime", "onnxruntime"]
    assert not any(decides for _, _, decides in found)


def test_what_is_named_decides_even_beside_all(bundle, tmp_path):
    assert ("wasm-simd", "wasm", True) in kinds(["wasm", "all"], bundle, tmp_path)


@pytest.mark.parametrize("name", catalog.devices())
def test_a_device_is_run_as_its_target(name, bundle, tmp_path):
    target = catalog.devices()[name].target
    assert kinds([name], bundle, tmp_path) == [(name, "wasm" if target == "wasm-simd" else "qemu", True)]


def test_devices_of_one_target_share_an_environment(bundle, tmp_path):
    found = asked_for(["raspberry-pi-5", "jetson-orin", "arm64-dotprod"], Bundle.open(bundle).manifest, tmp_path)
    assert len({id(one.place) for one in found}) == 1


def test_a_target_that_nothing_here_stands_for_has_a_reason(bundle, tmp_path):
    vnni, cuda = asked_for(["x86_64-avx512-vnni", "cuda"], Bundle.open(bundle).manifest, tmp_path)
    assert vnni.place is None
    assert "QEMU emulates no AVX-512" in vnni.reason
    assert "CUDAExecutionProvider" in cuda.reason


def test_claimed_targets_that_were_not_asked_for_are_told(bundle, tmp_path):
    manifest = Bundle.open(bundle).manifest
    assert set(uncovered(manifest, asked_for(["native"], manifest, tmp_path))) == {"x86_64-avx2", "arm64-neon"}
    assert uncovered(manifest, asked_for(["all"], manifest, tmp_path)) == {}


def test_an_unknown_name_is_a_usage_error_with_the_nearest_one(bundle, tmp_path, capsys):
    with pytest.raises(UsageError, match="raspbery-pi-4") as caught:
        asked_for(["raspbery-pi-4"], Bundle.open(bundle).manifest, tmp_path)
    assert "raspberry-pi-4" in caught.value.hint
    assert main(["verify", str(bundle), "--on", "raspbery-pi-4"]) == 2
    assert "raspberry-pi-4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "program", "package"),
    [
        (["arm64-neon"], "qemu-aarch64", "qemu-user-static"),
        (["wasm"], "Node", "nodejs"),
        (["webgpu"], "Chromium", "chromium"),
    ],
)
def test_a_missing_program_is_exit_9_and_names_its_package(
    names, program, package, *, bundle, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    arguments = ["verify", str(bundle), *(part for name in names for part in ("--on", name))]
    assert main([*arguments, "--evidence", str(tmp_path / "evidence.json")]) == 9
    shown = capsys.readouterr()
    assert "not available" in shown.out
    assert program in shown.err
    assert package in shown.err
    (proof,) = json.loads((tmp_path / "evidence.json").read_bytes())["proofs"]
    assert proof["outcome"] == "not available"


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_an_emulated_cpu_shows_its_own_features(cpu):
    features, _ = parse_cpuinfo(cpuinfo_of(cpu))
    assert set(cpu.features) <= features
    served = [name for name, target in catalog.targets().items() if not target.missing_on(cpu.architecture, features)]
    assert served[-1] == next(name for name, known in CPUS.items() if known is cpu)


def test_a_cpu_without_avx2_is_refused_by_name_before_onnxruntime_is_imported(bundle, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        assert name != "onnxruntime", "its import may be an illegal instruction here"
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(loading, "detect_host", lambda: Host("x86_64", frozenset({"avx"}), "an old one", "linux"))
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HostError, match="x86_64-avx2 needs avx2, fma"):
        load(bundle)


def report(*outcomes):
    proofs = tuple(
        Proof(f"place-{number}", "qemu", outcome, "a reason that is long enough to need folding on a narrow terminal",
              facts={"emulator": "QEMU 7.2.22", "cpu": "cortex-a72", "onnxruntime": "1.32.0"}, variant="int8",
              probes=(Probe("float32", 1e-7, 1e-5),), golden=Agreement(8, 0.9991, 0.9995, 0.99))
        for number, outcome in enumerate(outcomes)
    )  # fmt: skip
    return Report("tiny 1", {}, proofs, {"cuda": "was not asked for"})


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASS, Outcome.PASS], 0),
        ([Outcome.PASS, Outcome.NOT_TRUSTED], 9),
        ([Outcome.NOT_AVAILABLE, Outcome.OVER_LIMIT], 6),
        ([Outcome.OVER_LIMIT, Outcome.CANNOT_RUN, Outcome.NOT_TRUSTED], 8),
        ([Outcome.CANNOT_RUN, Outcome.WRONG], 5),
    ],
)
def test_the_gravest_outcome_is_the_exit_code(outcomes, code):
    assert report(*outcomes).exit_code == code


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(columns, monkeypatch, bundle, capsys):
    import edgekit.portability

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(edgekit.portability, "prove", lambda *a, **k: report(*Outcome))
    assert main(["verify", str(bundle), "--on", "all"]) == 5
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    assert all(str(outcome) in shown for outcome in Outcome)
    assert "QEMU 7.2.22" in shown
    assert main(["verify", str(bundle)]) in (0, 8)  # the evidence is sealed into the bundle


def test_json_tells_machines_the_same(monkeypatch, bundle, capsys):
    import edgekit.portability

    monkeypatch.setattr(edgekit.portability, "prove", lambda *a, **k: report(Outcome.PASS, Outcome.CANNOT_RUN))
    assert main(["verify", str(bundle), "--on", "all", "--json"]) == 8
    document = json.loads(capsys.readouterr().out)
    assert [proof["outcome"] for proof in document["portability"]["proofs"]] == ["pass", "cannot run"]
    assert (document["exit_code"], document["error"]["kind"]) == (8, "host")


def test_devices_of_one_target_are_run_once(bundle):
    place = Pretended(right)
    both = [Asked("one", place), Asked("other", place, device=catalog.devices()["aws-lambda-x86_64"])]
    found = prove_asked(Bundle.open(bundle), both, Silent(), LIMITS)
    assert [proof.outcome for proof in found.proofs] == [Outcome.PASS, Outcome.PASS]
    assert place.asked == 1


def test_without_the_build_side_on_says_what_to_install(bundle, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("edgekit.portability")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["verify", str(bundle), "--on", "native"]) == 2
    assert "edgekit[export]" in capsys.readouterr().err


def test_the_memory_of_the_program_that_asks_is_not_the_bundles(bundle):
    large = bytearray(b"x") * (700 << 20)  # a peak that a child would begin with
    del large
    asked = Asked("one", Pretended(right), device=catalog.devices()["aws-lambda-x86_64"])
    (proof,) = prove_asked(Bundle.open(bundle), [asked], Silent(), LIMITS).proofs
    (memory,) = (limit for limit in proof.limits if limit.name == "memory")
    assert 0 < memory.measured_bytes < 500_000_000
