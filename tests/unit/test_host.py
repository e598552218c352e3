import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.runtime.host import (
    detect_host,
    macos_features,
    normalise_architecture,
    parse_cpuinfo,
    usable_threads,
    windows_features,
)
from edgekit.spec.target import CPU_FEATURES

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6248
flags\t\t: fpu sse2 avx avx2 fma f16c avx512f avx512_vnni

processor\t: 1
model name\t: Intel(R) Xeon(R) Gold 6248
flags\t\t: fpu sse2 avx avx2 fma f16c avx512f avx512_vnni
"""
# A big.LITTLE phone: the small cores lack the dot product.
ARM = """processor\t: 0
Features\t: fp asimd crc32
CPU implementer\t: 0x41
CPU part\t: 0xd03

processor\t: 1
Features\t: fp asimd crc32 asimddp asimdhp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def test_this_host_is_known():
    host = detect_host()
    assert host.architecture in CPU_FEATURES
    assert host.cpu_features <= set(CPU_FEATURES[host.architecture])
    assert host.cpu_features


@pytest.mark.parametrize(
    ("machine", "name"),
    [("AMD64", "x86_64"), ("x86_64", "x86_64"), ("aarch64", "arm64"), ("ARM64", "arm64"), ("riscv64", "riscv64")],
)
def test_architectures_have_one_name(machine, name):
    assert normalise_architecture(machine) == name


def test_linux_features_and_name_of_an_x86_cpu():
    features, name = parse_cpuinfo(X86)
    assert {"avx2", "fma", "avx512_vnni"} <= features
    assert name == "Intel(R) Xeon(R) Gold 6248"


def test_only_what_every_core_has_is_claimed():
    features, name = parse_cpuinfo(ARM)
    assert features == {"fp", "asimd", "crc32"}
    assert name == "Arm implementer 0x41 part 0xd03"


@given(st.text())
def test_any_cpuinfo_is_read(text):
    features, _ = parse_cpuinfo(text)
    assert isinstance(features, frozenset)


def test_macos_features():
    apple = {"hw.optional.AdvSIMD": 1, "hw.optional.arm.FEAT_DotProd": 1, "hw.optional.arm.FEAT_I8MM": 0}
    assert macos_features(apple.get) == {"asimd", "asimddp"}


def test_windows_claims_no_vnni():
    assert windows_features({39, 40, 41}.__contains__) == {"avx", "avx2", "fma", "f16c", "avx512f"}
    assert windows_features({29, 43, 66}.__contains__) == {"asimd", "asimddp", "i8mm"}
    assert "avx512_vnni" not in windows_features(lambda _: True)


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def many_cpus(monkeypatch):
    monkeypatch.delenv("EDGEKIT_THREADS", raising=False)
    monkeypatch.setattr("edgekit.runtime.host._affinity", lambda: 16)


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense and more\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, 16),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
          "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
          "sys/fs/cgroup/a/b/cpu.max": "500000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "400000 100000\n",
          "sys/fs/other/cpu.max": "100000 100000\n"}, 4),
        ({"proc/self/cgroup": "5:cpu,cpuacct:/d\n", "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "250000\n",
          "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000\n"}, 3),
        ({"proc/self/cgroup": "5:cpu:/d\n", "sys/fs/cgroup/cpu/d/cpu.cfs_quota_us": "-1\n",
          "sys/fs/cgroup/cpu/d/cpu.cfs_period_us": "100000\n"}, 16),
        ({"proc/self/cgroup": "5:cpuset:/d\n", "sys/fs/cgroup/cpuset/d/cpu.cfs_quota_us": "100000\n"}, 16),
    ],
)  # fmt: skip
def test_threads_follow_the_cgroups_quota(tmp_path, files, threads):
    assert usable_threads(tree(tmp_path, files)) == threads


def test_threads_follow_the_affinity(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEKIT_THREADS", raising=False)
    monkeypatch.setattr("edgekit.runtime.host._affinity", lambda: 3)
    quota = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"}
    assert usable_threads(tree(tmp_path, quota)) == 3


def test_this_host_has_a_thread():
    assert usable_threads() >= 1
