"""onnxruntime-web, by npm into the cache: version and digest are pinned, and only what runs here is unpacked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile  # noqa: TID251 - with the filter that refuses links out of the folder, devices and absolute names
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability.fetching import Pinned, made_whole, size_of
from edgekit.portability.jobs import last_line
from edgekit.portability.pins import pins
from edgekit.spec.progress import Progress

_PREFIX: Final = "package/dist/"
_FILES: Final = frozenset(
    {
        "ort.wasm.min.mjs",
        "ort.webgpu.min.mjs",
        "ort-wasm-simd-threaded.mjs",
        "ort-wasm-simd-threaded.wasm",
        "ort-wasm-simd-threaded.asyncify.mjs",
        "ort-wasm-simd-threaded.asyncify.wasm",
    }
)
_PATIENCE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class WebRuntime:
    """An unpacked onnxruntime-web: its version and the folder of its files."""

    version: str
    folder: Path


def onnxruntime_web(cache: Path, progress: Progress) -> WebRuntime:
    """The pinned version, from the cache or fetched into it.

    Raises:
        HostError: npm is missing or failed, or gave another package than the pinned one.
    """
    version, package = pins().web_version, pins().web
    folder = cache / "portability" / f"onnxruntime-web-{version}"
    with made_whole(folder) as filling:
        if filling is not None:
            progress.note(f"fetching onnxruntime-web {version}, {package.size / 1e6:.0f} MB")
            with tempfile.TemporaryDirectory(prefix="edgekit-npm-") as scratch:
                _unpack(_pack(version, package, Path(scratch)), filling)
            progress.note(f"cached onnxruntime-web {version}: {size_of(filling) / 1e6:.0f} MB on disk")
    return WebRuntime(version, folder)


def _pack(version: str, package: Pinned, folder: Path) -> Path:
    program = shutil.which("npm")
    if program is None:
        raise HostError("npm is not on this machine", hint="on Debian and Ubuntu: apt install npm")
    command = [program, "pack", f"onnxruntime-web@{version}", "--silent", "--ignore-scripts"]
    try:
        done = subprocess.run(  # noqa: S603 - made above
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"npm cannot fetch onnxruntime-web {version}: {error}", hint="check the network") from error
    fetched = folder / package.path
    if done.returncode or not fetched.is_file():
        reason = last_line(done.stderr) or f"exit status {done.returncode}"
        raise HostError(f"npm cannot fetch onnxruntime-web {version}: {reason}", hint="check the network")
    with fetched.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.sha256:
        raise HostError(
            f"onnxruntime-web {version} from npm has sha256 {digest}, pinned is {package.sha256}",
            hint="the registry that npm uses here does not give the published package",
        )
    return fetched


def _unpack(package: Path, folder: Path) -> None:
    try:
        with tarfile.open(package, "r:gz") as archive:
            archive.extractall(folder, filter=_kept)  # noqa: S202 - with a filter
    except (OSError, ValueError, tarfile.TarError) as error:
        raise HostError(f"{package.name}: cannot be unpacked: {error}") from error
    missing = sorted(name for name in _FILES if not (folder / name).is_file())
    if missing:
        raise HostError(f"{package.name}: lacks {', '.join(missing)}")


def _kept(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    name = member.name.removeprefix(_PREFIX)
    if name not in _FILES or not member.isreg():
        return None
    return tarfile.data_filter(member.replace(name=name), folder)
