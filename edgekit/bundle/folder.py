"""A folder seen without following links: what is in it, and opening one file of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from edgekit.bundle.paths import MAX_DEPTH
from edgekit.errors import IntegrityError
from edgekit.spec.manifest import (
    MANIFEST_NAME,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE_NAME,
    FileEntry,
)

# O_NONBLOCK: a pipe put in a file's place must not block the open. O_BINARY: Windows.
READ_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_STEP: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_DAMAGED: Final = "the bundle is damaged or was changed; get it again"
_NOT_OURS: Final = "remove it, or get the bundle again"
_CAN_STEP: Final = os.open in os.supports_dir_fd


class Stream(Protocol):
    """What a file is read through: both give fewer bytes than asked for where it pleases them, none at the end."""

    def read(self, size: int, /) -> bytes | None:
        """Up to so many bytes."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of a buffer; how many bytes of it."""


class FolderFiles:
    """The files of a bundle in a folder; see :class:`~edgekit.bundle.reading.Files`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self) -> bytes:
        """The bytes of ``edgekit.json``."""
        return self._small(MANIFEST_NAME, MAX_MANIFEST_BYTES)

    def signature(self) -> bytes | None:
        """The bytes of the signature, if there is one."""
        if SIGNATURE_NAME not in list_files(self.root):
            return None
        return self._small(SIGNATURE_NAME, MAX_SIGNATURE_BYTES)

    def check(self, manifest_size: int, entries: Iterable[FileEntry]) -> None:
        """Compare the names and sizes of all files with what is listed."""
        listed = {entry.path: entry.size for entry in entries} | {MANIFEST_NAME: manifest_size}
        present = list_files(self.root)
        signature = present.pop(SIGNATURE_NAME, None)
        if signature is not None and not 1 <= signature <= MAX_SIGNATURE_BYTES:
            raise IntegrityError(
                f"{SIGNATURE_NAME}: has {signature} bytes, allowed are 1 to {MAX_SIGNATURE_BYTES}", hint=_NOT_OURS
            )
        for path, size in present.items():
            if path not in listed:
                raise IntegrityError(f"{path!r}: is not listed in {MANIFEST_NAME}", hint=_DAMAGED)
            if size != listed[path]:
                raise IntegrityError(f"{path}: has {size} bytes, listed are {listed[path]}", hint=_DAMAGED)
        for path in listed:
            if path not in present:
                raise IntegrityError(f"{path}: is listed in {MANIFEST_NAME} but missing", hint=_DAMAGED)

    def open(self, path: str) -> AbstractContextManager[FileIO]:
        """Open a file from its start, for reading; see :func:`open_file`."""
        return open_file(self.root, path)

    def _small(self, path: str, limit: int) -> bytes:
        data = b""
        with open_file(self.root, path) as stream:
            while len(data) <= limit and (part := stream.read(limit + 1 - len(data))):
                data += part
        if len(data) > limit:
            raise IntegrityError(f"{path}: is over the limit of {limit} bytes", hint=_DAMAGED)
        return data


def list_files(root: Path) -> dict[str, int]:
    """Every file under a folder, as ``{path with forward slashes: size in bytes}``.

    Raises:
        IntegrityError: There is a link, a device, a pipe, a socket or an empty folder, more than
            :data:`~edgekit.spec.manifest.MAX_FILES` files beside ``edgekit.json``, a path deeper
            than a bundle's may be, or a folder that cannot be read.
    """
    files: dict[str, int] = {}
    _list_into(files, root, "", 1)
    return files


@contextmanager
def open_file(root: Path, path: str) -> Iterator[FileIO]:
    """Open a regular file under ``root`` for reading, without buffering and without following links.

    Args:
        root: The folder. It may itself be reached through links.
        path: As :func:`~edgekit.bundle.paths.check_path` accepts it.

    Raises:
        IntegrityError: The file is missing, is no regular file, is reached through a link, or
            reading it fails (also inside the ``with`` block).
    """
    try:
        descriptor = _open_by_steps(root, path) if _CAN_STEP else _open_checked(root, path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IntegrityError(f"{path}: is not a regular file", hint="get the bundle again")
        with FileIO(descriptor) as stream:
            yield stream
    except OSError as error:
        raise read_error(path, error) from error


def _list_into(files: dict[str, int], folder: Path, prefix: str, depth: int) -> None:
    try:
        with os.scandir(folder) as entries:
            # Bounded before sorting: a folder with millions of entries is refused, not read to its end.
            found = [entry for entry, _ in zip(entries, range(MAX_FILES + 3), strict=False)]
        for entry in sorted(found, key=lambda entry: entry.name):
            path = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if _is_link(status):
                raise IntegrityError(f"{path!r}: is a link", hint=_NOT_OURS)
            if stat.S_ISDIR(status.st_mode):
                if depth == MAX_DEPTH:
                    raise IntegrityError(f"{path!r}: is a folder deeper than {MAX_DEPTH} parts", hint=_NOT_OURS)
                _list_into(files, folder / entry.name, path + "/", depth + 1)
            elif stat.S_ISREG(status.st_mode):
                files[path] = status.st_size
            else:
                raise IntegrityError(f"{path!r}: is neither file nor folder", hint=_NOT_OURS)
            if len(files) > MAX_FILES + 2:  # edgekit.json and a signature beside them
                raise IntegrityError(f"{path!r}: one file more than the {MAX_FILES} a bundle may hold", hint=_NOT_OURS)
    except OSError as error:
        raise read_error(prefix.rstrip("/") or str(folder), error) from error
    if not found:
        raise IntegrityError(f"{prefix or str(folder)!r}: is an empty folder", hint=_NOT_OURS)


def _is_link(status: os.stat_result) -> bool:
    # A junction on Windows is no symbolic link, but leads away like one.
    reparse = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_file_attributes", 0) & reparse)


def _open_by_steps(root: Path, path: str) -> int:
    # Each folder is opened from its parent's descriptor, so none can be swapped for a link meanwhile.
    *folders, name = path.split("/")
    current = os.open(root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for folder in folders:
            below = os.open(folder, _STEP, dir_fd=current)
            os.close(current)
            current = below
        return os.open(name, READ_FLAGS, dir_fd=current)
    finally:
        os.close(current)


def _open_checked(root: Path, path: str) -> int:
    current = root
    for part in path.split("/"):
        current /= part
        if _is_link(current.lstat()):
            raise IntegrityError(f"{path}: is or lies behind a link", hint="get the bundle again")
    return os.open(current, READ_FLAGS)


def read_error(path: str, error: OSError) -> IntegrityError:
    """What an operating system's error on reading means for a bundle."""
    if error.errno == errno.ENOENT:
        return IntegrityError(f"{path}: is missing", hint="the bundle is damaged; get it again")
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return IntegrityError(f"{path}: is or lies behind a link, or its folder is a file", hint="get the bundle again")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return IntegrityError(f"{path}: may not be read: {error.strerror}", hint="check its permissions")
    return IntegrityError(f"{path}: cannot be read: {error.strerror}", hint="check the disk, then get the bundle again")
