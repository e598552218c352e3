"""Python packages for an environment, by pip into a folder of the cache: the versions and digests are pinned."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability.fetching import made_whole, size_of
from edgekit.portability.jobs import last_line
from edgekit.portability.pins import pins
from edgekit.spec.progress import Progress

_ARM_PYTHON: Final = "3.11"
_ARM_PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_PATIENCE_SECONDS: Final = 900


def onnxruntime_versions() -> tuple[str, ...]:
    """Versions that can be installed, the oldest first."""
    return tuple(pins().onnxruntime)


def onnxruntime(version: str, cache: Path, progress: Progress) -> Path:
    """A folder that holds this version of ONNX Runtime, for this Python, and nothing else.

    Raises:
        HostError: It cannot be installed.
    """
    tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    folder = cache / "portability" / f"onnxruntime-{version}-{tag}"
    return _installed(folder, {f"onnxruntime=={version}": pins().onnxruntime[version]}, (), progress)


def arm(cache: Path, progress: Progress) -> Path:
    """A folder that holds what a device needs, for Python 3.11 on 64-bit Arm.

    Raises:
        HostError: It cannot be installed.
    """
    wanted = pins().arm_wheels
    flags = [f"--platform={name}" for name in _ARM_PLATFORMS]
    flags += [f"--python-version={_ARM_PYTHON}", "--implementation=cp", "--abi=cp311", "--abi=abi3"]
    name = "-".join(sorted(requirement.replace("==", "-") for requirement in wanted))
    return _installed(cache / "portability" / f"arm64-{name}", wanted, flags, progress)


def _installed(folder: Path, wanted: Mapping[str, Sequence[str]], flags: Sequence[str], progress: Progress) -> Path:
    with made_whole(folder) as filling:
        if filling is not None:
            names = ", ".join(requirement.replace("==", " ") for requirement in wanted)
            progress.note(f"fetching {names}")
            _pip(wanted, flags, filling)
            progress.note(f"cached {names}: {size_of(filling) / 1e6:.0f} MB on disk")
    return folder


def _pip(wanted: Mapping[str, Sequence[str]], flags: Sequence[str], folder: Path) -> None:
    requirements = folder / "requirements.txt"
    lines = [" ".join([name, *(f"--hash=sha256:{digest}" for digest in digests)]) for name, digests in wanted.items()]
    requirements.write_text("\n".join(lines) + "\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--target={folder}", *flags]
    try:
        done = subprocess.run(  # noqa: S603 - made above
            [*command, "-r", str(requirements)],
            capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(wanted, str(error)) from error
    if done.returncode:
        raise _failed(wanted, _reason(done.stderr))


def _reason(said: str) -> str:
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    return errors[0].removeprefix("ERROR: ")[:300] if errors else last_line(said)


def _failed(wanted: Mapping[str, Sequence[str]], reason: str) -> HostError:
    return HostError(
        f"pip cannot install {', '.join(wanted)} for Python {platform.python_version()}: {reason}",
        hint="check the network, and that this Python has pip (python -m ensurepip)",
    )
