"""Other CPUs by QEMU's user mode: a Python, numpy and ONNX Runtime that see another processor than this machine's."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability import sysroot
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Job, Ran
from edgekit.portability.places import run_python
from edgekit.runtime.host import Host, normalise_architecture
from edgekit.spec.progress import Progress


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor that QEMU emulates.

    Attributes:
        architecture: ``x86_64`` or ``arm64``.
        model: What ``-cpu`` is given.
        features: What it has of :data:`edgekit.spec.target.CPU_FEATURES`.
        identity: Further lines of its ``/proc/cpuinfo``.
    """

    architecture: str
    model: str
    features: tuple[str, ...]
    identity: tuple[str, ...] = ()


_ARM: Final = ("CPU implementer : 0x41", "CPU architecture: 8", "CPU variant : 0x1")

# By the target each stands for. With SME on, QEMU before 10 computes int8 products wrong, and so would one that does
# not know the property: the probes find it (docs/portability.md).
CPUS: Final[Mapping[str, Cpu]] = {
    "x86_64-avx2": Cpu("x86_64", "Haswell", ("avx", "avx2", "fma", "f16c")),
    "arm64-neon": Cpu("arm64", "cortex-a72", ("asimd",), (*_ARM, "CPU part : 0xd08", "CPU revision : 3")),
    "arm64-dotprod": Cpu(
        "arm64", "cortex-a76", ("asimd", "asimddp", "asimdhp"), (*_ARM, "CPU part : 0xd0b", "CPU revision : 1")
    ),
    "arm64-i8mm": Cpu(
        "arm64",
        "max,sve=off,sme=off",
        ("asimd", "asimddp", "asimdhp", "i8mm", "bf16"),
        (*_ARM, "CPU part : 0xd0b", "CPU revision : 1"),
    ),
}

_EMULATORS: Final = {"x86_64": "qemu-x86_64", "arm64": "qemu-aarch64"}


class Qemu:
    """One processor.

    Args:
        cpu: Which.
        cache: Where the Arm system is kept.
    """

    kind = "qemu"

    def __init__(self, cpu: Cpu, cache: Path) -> None:
        self.cpu = cpu
        self._cache = cache
        self._system: sysroot.System | None = None

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Find the emulator and, for Arm, get a Python for it.

        Raises:
            HostError: There is no emulator, or the packages cannot be fetched.
        """
        emulator = self._emulator()
        if self.cpu.architecture == "arm64":
            self._system = sysroot.arm_system(self._cache, progress)
        elif normalise_architecture(platform.machine()) != self.cpu.architecture:
            raise HostError(
                f"{self.cpu.architecture} runs with this machine's own Python, which is for {platform.machine()}",
                hint="run it on an x86-64 machine",
            )
        return {"emulator": f"QEMU {_version(emulator)}", "cpu": self.cpu.model}

    def host(self) -> Host:
        """The processor."""
        return Host(self.cpu.architecture, frozenset(self.cpu.features), self.cpu.model, "linux")

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run it under the emulator."""
        root = folder / "root"
        cpuinfo = root / "proc/cpuinfo"
        cpuinfo.parent.mkdir(parents=True)
        cpuinfo.write_text(cpuinfo_of(self.cpu), encoding="ascii")  # the emulator would show this machine's
        command = [self._emulator(), "-cpu", self.cpu.model, "-L", str(root)]
        if self._system is None:
            return run_python([*command, sys.executable], job, folder, limits)
        for name in self._system.folders:
            (root / name).symlink_to(self._system.root / name)
        home = {"PYTHONHOME": str(self._system.root / "usr")}
        command += [str(self._system.python)]
        return run_python(command, job, folder, limits, before=self._system.packages, variables=home)

    def _emulator(self) -> str:
        name = _EMULATORS[self.cpu.architecture]
        found = shutil.which(f"{name}-static") or shutil.which(name)
        if found is None or sys.platform != "linux":
            raise HostError(f"{name} is not on this machine", hint="on Debian and Ubuntu: apt install qemu-user-static")
        return found


def cpuinfo_of(cpu: Cpu) -> str:
    """What ``/proc/cpuinfo`` of such a processor says; ONNX Runtime's import crashes on Arm without one."""
    if cpu.architecture == "x86_64":
        lines = ["processor : 0", "vendor_id : GenuineIntel", f"model name : QEMU {cpu.model}"]
        return "\n".join([*lines, f"flags : {' '.join(cpu.features)}", "", ""])
    lines = [
        "processor : 0",
        "BogoMIPS : 108.00",
        f"Features : fp {' '.join(cpu.features)} evtstrm crc32 cpuid atomics",
    ]
    return "\n".join([*lines, *cpu.identity, "", ""])


def _version(emulator: str) -> str:
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout  # noqa: S603
    match = re.search(r"version (\d+\.\d+(?:\.\d+)?)", said)
    return match[1] if match else "of unknown version"
