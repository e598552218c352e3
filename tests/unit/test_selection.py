import dataclasses

import pytest

from edgekit.errors import HostError, IntegrityError, UsageError
from edgekit.runtime.host import Host
from edgekit.runtime.selection import check_host, choose_variant, version_in_range
from edgekit.spec.target import Target

from .tiny_model import plain_variant, target, tiny_manifest

VNNI = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")
TARGETS = {
    "x86_64-avx512-vnni": target("x86_64-avx512-vnni", "x86_64", *VNNI, rank=20),
    "x86_64-avx2": target("x86_64-avx2", "x86_64", "avx2", "fma", rank=10),
    "arm64-dotprod": target("arm64-dotprod", "arm64", "asimd", "asimddp", rank=20),
    "arm64-neon": target("arm64-neon", "arm64", "asimd", rank=10),
}
FAST = plain_variant(name="fast", targets=("x86_64-avx512-vnni", "arm64-dotprod"))
SAFE = plain_variant(name="safe", targets=("x86_64-avx2", "arm64-neon"))
OTHER = plain_variant(name="other", targets=("x86_64-avx2",))


GPU_TARGETS = TARGETS | {
    name: Target(name, f"for tests: {name}", "any", (), provider, rank)
    for name, provider, rank in (("cuda", "CUDAExecutionProvider", 110), ("tensorrt", "TensorrtExecutionProvider", 120))
}
CUDA = plain_variant(name="fp16-cuda", targets=("cuda",), parity="unproven")
TENSORRT = plain_variant(name="fp16-tensorrt", targets=("tensorrt",), parity="unproven")


def manifest(*variants, **changes):
    return tiny_manifest(targets=TARGETS, variants=variants, **changes)


def host(architecture, *features):
    return Host(architecture, frozenset(features), "A CPU", "linux")


SERVER = host("x86_64", *VNNI)
LAPTOP = host("x86_64", "avx", "avx2", "fma")
OLD = host("x86_64", "avx")
PI5 = host("arm64", "asimd", "asimddp")
PI4 = host("arm64", "asimd")


@pytest.mark.parametrize("order", [(FAST, SAFE), (SAFE, FAST)])
@pytest.mark.parametrize(("machine", "name"), [(SERVER, "fast"), (LAPTOP, "safe"), (PI5, "fast"), (PI4, "safe")])
def test_the_most_specific_target_decides(order, machine, name):
    assert choose_variant(manifest(*order), machine).name == name


def test_the_bundles_order_decides_between_equals():
    assert choose_variant(manifest(SAFE, OTHER), LAPTOP).name == "safe"
    assert choose_variant(manifest(OTHER, SAFE), LAPTOP).name == "other"


def test_a_host_never_gets_what_it_cannot_run():
    with pytest.raises(HostError) as caught:
        choose_variant(manifest(FAST), LAPTOP)
    assert "avx512f, avx512bw, avx512vl, avx512_vnni" in caught.value.message
    assert "arm64-dotprod is for arm64" in caught.value.message
    assert "A CPU" in caught.value.message
    assert caught.value.exit_code == 8


def test_an_old_cpu_and_a_strange_one_learn_what_is_missing():
    with pytest.raises(HostError, match="x86_64-avx2 needs avx2, fma"):
        choose_variant(manifest(SAFE), OLD)
    with pytest.raises(HostError, match=r"this riscv64 CPU.*x86_64-avx2 is for x86_64"):
        choose_variant(manifest(SAFE), host("riscv64"))


def test_a_named_variant_is_taken_where_it_fits():
    assert choose_variant(manifest(FAST, SAFE), SERVER, "safe").name == "safe"
    with pytest.raises(HostError, match="variant 'fast' does not fit"):
        choose_variant(manifest(FAST, SAFE), LAPTOP, "fast")


def with_gpu(machine, *providers):
    return dataclasses.replace(machine, providers=frozenset({"CPUExecutionProvider", *providers}))


def gpu_manifest(*variants):
    return tiny_manifest(targets=GPU_TARGETS, variants=variants)


@pytest.mark.parametrize("machine", [SERVER, PI5, OLD, host("riscv64")])
def test_a_gpu_variant_runs_beside_any_cpu_whose_onnxruntime_has_the_provider(machine):
    both = gpu_manifest(SAFE, CUDA, TENSORRT)
    assert choose_variant(both, with_gpu(machine, "CUDAExecutionProvider")).name == "fp16-cuda"
    either = with_gpu(machine, "CUDAExecutionProvider", "TensorrtExecutionProvider")
    assert choose_variant(both, either).name == "fp16-tensorrt"
    assert choose_variant(both, either, "fp16-cuda").name == "fp16-cuda"


def test_a_host_without_the_provider_gets_the_cpu_variant_or_learns_what_to_install():
    assert choose_variant(gpu_manifest(CUDA, SAFE), LAPTOP).name == "safe"
    for asked in (None, "fp16-cuda"):
        with pytest.raises(HostError, match="cuda needs CUDAExecutionProvider") as caught:
            choose_variant(gpu_manifest(CUDA), LAPTOP, asked)
        assert "pip install onnxruntime-gpu" in caught.value.hint
    with pytest.raises(HostError, match="'fp16-cuda' does not fit"):
        choose_variant(gpu_manifest(CUDA, SAFE), LAPTOP, "fp16-cuda")


def test_another_provider_of_the_host_is_no_reason_to_take_a_variant():
    with pytest.raises(HostError, match="tensorrt needs TensorrtExecutionProvider"):
        choose_variant(gpu_manifest(TENSORRT), with_gpu(LAPTOP, "CUDAExecutionProvider"))


def test_an_unknown_name_is_a_usage_error_with_the_nearest():
    with pytest.raises(UsageError, match="no variant 'fats', only fast, safe") as caught:
        choose_variant(manifest(FAST, SAFE), SERVER, "fats")
    assert caught.value.hint == "did you mean 'fast'?"


@pytest.mark.parametrize(
    ("version", "specifier", "holds"),
    [
        ("1.24.0", ">=1.24,<2", True),
        ("1.23.9", ">=1.24,<2", False),
        ("2.0.0", ">=1.24,<2", False),
        ("1.32.0", ">=1.24, <2", True),
        ("1.9", ">=1.24", False),
        ("1.32.0.dev20261101", "==1.32", True),
        ("1.32.0+cpu", "<=1.32", True),
        ("1.32.1", "<=1.32", False),
        ("1.32.1", "!=1.32.1", False),
        ("1.32.1", ">1.32,!=1.33", True),
        ("nonsense", ">=1.24", False),
    ],
)
def test_version_ranges(version, specifier, holds):
    assert version_in_range(version, specifier) is holds


@pytest.mark.parametrize(
    "specifier", ["", "1.24", "~=1.24", ">=1.24,", ">= ", ">=1.24 <2", "==1.32.*", ">=" + "9" * 50]
)
def test_malformed_ranges_are_refused(specifier):
    with pytest.raises(IntegrityError, match="is not a range"):
        version_in_range("1.32.0", specifier)


def test_the_whole_check_takes_task_version_and_cpu():
    assert check_host(manifest(FAST, SAFE), LAPTOP, "1.32.0").name == "safe"
    with pytest.raises(HostError, match=r"needs onnxruntime >=1\.24,<2, installed is 1\.20\.1"):
        check_host(manifest(SAFE), LAPTOP, "1.20.1")
    with pytest.raises(HostError, match="'object-detection' is unknown"):
        check_host(manifest(SAFE, task="object-detection"), LAPTOP, "1.32.0")
