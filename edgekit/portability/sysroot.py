"""An Arm Python with numpy, ONNX Runtime and tokenizers, made without root from pinned packages of Debian and PyPI."""

from __future__ import annotations

import io
import lzma
import tarfile  # noqa: TID251 - with the filter that refuses links out of the folder, devices and absolute names
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability import wheels
from edgekit.portability.fetching import fetch, made_whole, size_of
from edgekit.portability.pins import pins
from edgekit.spec.progress import Progress

_FOLDERS: Final = ("lib", "usr")
_KEPT: Final = ("lib/", "usr/lib/", "usr/bin/python3.11")
_AR_MAGIC: Final = b"!<arch>\n"
_AR_HEADER: Final = 60


@dataclass(frozen=True, slots=True)
class System:
    """An unpacked system.

    Attributes:
        root: Its ``/``.
        folders: Those under ``root`` that a program looks into.
        python: The interpreter.
        packages: What goes on ``PYTHONPATH``.
    """

    root: Path
    folders: tuple[str, ...]
    python: Path
    packages: tuple[Path, ...]


def arm_system(cache: Path, progress: Progress) -> System:
    """The Arm system, from the cache or made there: about 30 packages' files, seconds to unpack.

    Raises:
        HostError: A package cannot be had, or is not the pinned one.
    """
    wanted = pins().packages
    key = wanted[0].sha256[:8] + f"-{len(wanted)}"
    folder = cache / "portability" / f"arm64-debian-{key}"
    with made_whole(folder) as filling:
        if filling is not None:
            total = sum(package.size for package in wanted)
            progress.note(f"fetching {len(wanted)} Debian packages for arm64, {total / 1e6:.0f} MB")
            for number, package in enumerate(wanted):
                progress.advance(number, len(wanted))
                unpack(fetch(package, pins().mirrors, cache / "portability" / "downloads"), filling)
            progress.note(f"cached an arm64 Python 3.11: {size_of(filling) / 1e6:.0f} MB on disk")
    return System(folder, _FOLDERS, folder / "usr/bin/python3.11", (wheels.arm(cache, progress),))


def unpack(package: Path, folder: Path) -> None:
    """Unpack the libraries and the Python of a Debian package.

    Raises:
        HostError: It is no such package.
    """
    try:
        data = dict(ar_members(package.read_bytes()))["data.tar.xz"]
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(data))) as archive:
            archive.extractall(folder, filter=_kept)  # noqa: S202 - with a filter
    except (OSError, KeyError, ValueError, lzma.LZMAError, tarfile.TarError) as error:
        raise HostError(f"{package.name}: is no Debian package that can be unpacked: {error}") from error


def ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the members of an ``ar`` archive.

    Raises:
        ValueError: It is none.
    """
    if not data.startswith(_AR_MAGIC):
        raise ValueError("no ar archive")
    place = len(_AR_MAGIC)
    while place < len(data):
        header = data[place : place + _AR_HEADER]
        if len(header) < _AR_HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise ValueError(f"broken at byte {place}")
        size = int(header[48:58])
        place += _AR_HEADER
        if place + size > len(data):
            raise ValueError(f"cut off at byte {len(data)}")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), data[place : place + size]
        place += size + size % 2


def _kept(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    name = member.name.removeprefix("./")
    if not any(name.startswith(prefix) or prefix.startswith(name + "/") for prefix in _KEPT):
        return None
    if member.issym() and member.linkname.startswith("/"):
        return None  # to what belongs to an installed system, such as /etc; nothing here needs it
    return tarfile.data_filter(member, folder)
