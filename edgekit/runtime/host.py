"""Facts about this machine: architecture, CPU features by Linux's names, and usable threads."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.spec.provider import CPU_ONLY
from edgekit.spec.target import CPU_FEATURES

THREADS_VARIABLE: Final = "EDGEKIT_THREADS"
"""Environment variable that holds the most threads that may be taken, such as where other work runs beside."""

_ARCHITECTURES: Final = {"amd64": "x86_64", "x64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

_MACOS_FEATURES: Final = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.f16c": "f16c",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512bw": "avx512bw",
    "hw.optional.avx512vl": "avx512vl",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.neon": "asimd",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}

# Numbers of IsProcessorFeaturePresent (winnt.h). Windows has none for FMA and F16C: every CPU that has AVX2 and
# runs a supported Windows has both, and ONNX Runtime asks the CPU itself before it uses them. It has none for
# AVX-512 beyond the foundation either, and nothing implies those, so they are not claimed.
_WINDOWS_FEATURES: Final = {
    39: ("avx",),
    40: ("avx2", "fma", "f16c"),
    41: ("avx512f",),
    29: ("asimd",),
    43: ("asimddp",),
    46: ("sve",),
    66: ("i8mm",),
    67: ("asimdhp",),
    68: ("bf16",),
}


@dataclass(frozen=True, slots=True)
class Host:
    """The machine that is to run a bundle.

    Attributes:
        architecture: ``x86_64``, ``arm64``, or what the system calls another one.
        cpu_features: Those of :data:`edgekit.spec.target.CPU_FEATURES` that every core has.
        cpu_name: What the system calls the CPU, for people; may be empty.
        system: ``linux``, ``darwin`` or ``win32``.
        providers: Execution providers that may run something here; see :func:`edgekit.runtime.session.this_host`.
    """

    architecture: str
    cpu_features: frozenset[str]
    cpu_name: str
    system: str
    providers: frozenset[str] = CPU_ONLY


def detect_host() -> Host:
    """This machine, its CPU alone. A feature that the system does not report is not claimed."""
    import platform  # tens of milliseconds that a caller with a Host of its own need not pay

    architecture = normalise_architecture(platform.machine())
    if sys.platform == "darwin":
        features, name = macos_features(_sysctl_integer), _sysctl_text("machdep.cpu.brand_string")
    elif sys.platform == "win32":
        features, name = windows_features(_windows_has), os.environ.get("PROCESSOR_IDENTIFIER", "")
    else:
        try:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""  # a sandbox without /proc: nothing is known, so nothing is claimed
        features, name = parse_cpuinfo(text)
    return Host(architecture, _known(architecture, features), name, sys.platform)


def usable_threads(root: Path = Path("/")) -> int:
    """How many threads can run at once: the CPU affinity, the cgroup's CPU quota, or ``EDGEKIT_THREADS`` if less.

    Args:
        root: Folder that holds ``proc`` and ``sys``; another one than ``/`` is for tests.

    Returns:
        At least 1. A fractional quota is rounded up; a variable that is no number is as if it were not there.
    """
    quota = _cgroup_quota(root)
    asked = os.environ.get(THREADS_VARIABLE, "")
    limits = [_affinity()]
    limits += [math.ceil(quota)] if quota is not None else []
    limits += [int(asked)] if asked.isascii() and asked.isdigit() else []
    return max(1, min(limits))


def normalise_architecture(machine: str) -> str:
    """The name edgekit uses for what ``platform.machine()`` returns."""
    return _ARCHITECTURES.get(machine.lower(), machine.lower())


def parse_cpuinfo(text: str) -> tuple[frozenset[str], str]:
    """The features that every core lists in ``/proc/cpuinfo``, and the CPU's name."""
    cores: list[frozenset[str]] = []
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key = key.strip()
        if not colon:
            continue
        if key in ("flags", "Features"):
            cores.append(frozenset(value.split()))
        facts.setdefault(key, value.strip())
    name = facts.get("model name", "")
    if not name and "CPU part" in facts:
        name = f"Arm implementer {facts.get('CPU implementer', '?')} part {facts['CPU part']}"
    return (frozenset.intersection(*cores) if cores else frozenset()), name


def macos_features(integer: Callable[[str], int | None]) -> frozenset[str]:
    """The features macOS reports.

    Args:
        integer: Reads one ``sysctl`` integer; None where it does not exist.
    """
    return frozenset(feature for key, feature in _MACOS_FEATURES.items() if integer(key))


def windows_features(present: Callable[[int], bool]) -> frozenset[str]:
    """The features Windows reports.

    Args:
        present: Asks ``IsProcessorFeaturePresent`` for one number.
    """
    return frozenset(name for number, names in _WINDOWS_FEATURES.items() if present(number) for name in names)


def _known(architecture: str, features: Iterable[str]) -> frozenset[str]:
    return frozenset(CPU_FEATURES.get(architecture, ())) & frozenset(features)


def _sysctl_integer(name: str) -> int | None:
    value = ctypes.c_int64(0)
    size = ctypes.c_size_t(ctypes.sizeof(value))
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    return None if failed else value.value


def _sysctl_text(name: str) -> str:
    value = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(ctypes.sizeof(value))
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), value, ctypes.byref(size), None, 0)
    return "" if failed else value.value.decode("utf-8", "replace")


def _windows_has(number: int) -> bool:
    windll = getattr(ctypes, "windll")  # noqa: B009 - the attribute exists on Windows alone, mypy runs on Linux
    return bool(windll.kernel32.IsProcessorFeaturePresent(number))


def _affinity() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _cgroup_quota(root: Path) -> float | None:
    """The least CPU quota of this process's cgroup and those above it, in CPUs; None without one."""
    quotas: list[float] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                quotas += _walk(root / mount, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for mount in (f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu"):
                quotas += _walk(root / mount, path, _quota_v1)
    return min(quotas, default=None)


def _walk(mount: Path, path: str, quota: Callable[[Path], float | None]) -> list[float]:
    # A container without its own cgroup namespace sees the host's path, which does not exist under its
    # mount, and a process outside its namespace sees parent steps: the mount itself then holds the limit.
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        parts = []
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    return [value for value in map(quota, folders) if value is not None]


def _quota_v2(folder: Path) -> float | None:
    return _ratio(*(_read(folder / "cpu.max").split() or ["max"]))


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str = "100000", *_: str) -> float | None:
    if not (quota.isascii() and quota.isdigit() and period.isascii() and period.isdigit()):  # "max", "-1", no file
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # no such controller here
