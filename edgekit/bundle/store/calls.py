"""Every system call of the store that reads or changes the disk, one function each.

Nothing else in this package touches the disk (reading a bundle's files is :mod:`edgekit.bundle.reading`'s), so that a
test can fail, shorten or record any call, or end the process at it, by putting another function in the place of one of
these; callers ask for them as ``calls.NAME``.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

WINDOWS: Final = os.name == "nt"  # the store asks here, so that a test can show it the other ways on Linux

_COMMON: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def open_read(path: Path) -> int:
    """Open a file for reading; a link is refused."""
    return os.open(path, os.O_RDONLY | _COMMON)


def open_folder(path: Path) -> int:
    """Open a folder for reading, for syncing or locking it. Not on Windows, which opens no folders."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _COMMON)


def open_new(path: Path) -> int:
    """Make a file that must not exist, and open it for writing."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON, 0o644)


def open_lock(path: Path) -> int:
    """Open a lock's file, made where it is missing. Its content means nothing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | _COMMON, 0o644)


def read(descriptor: int, count: int) -> bytes:
    """Up to ``count`` bytes; none at the end."""
    return os.read(descriptor, count)


def write(descriptor: int, data: bytes | memoryview) -> int:
    """Write some of the data; how many bytes."""
    return os.write(descriptor, data)


def fsync(descriptor: int) -> None:
    """Wait until a file or folder is on the disk itself.

    macOS's ``fsync`` leaves data in the drive's own memory; F_FULLFSYNC empties that too, where the file system has it.
    """
    full: Callable[[int], None] | None = _full_sync() if sys.platform == "darwin" else None
    if full is None:
        os.fsync(descriptor)
        return
    try:
        full(descriptor)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}:
            raise
        os.fsync(descriptor)  # the first call was refused, not failed: nothing was tried yet


def close(descriptor: int) -> None:
    """Close a descriptor."""
    os.close(descriptor)


def rename(source: Path, destination: Path) -> None:
    """Rename, in one step; a file at the destination is replaced."""
    os.replace(source, destination)  # noqa: PTH105 - the call itself, as the shim sees it


def unlink(path: Path) -> None:
    """Remove a file's or link's name."""
    os.unlink(path)  # noqa: PTH108


def mkdir(path: Path) -> None:
    """Make a folder, whose parent exists."""
    os.mkdir(path)  # noqa: PTH102


def rmdir(path: Path) -> None:
    """Remove an empty folder."""
    os.rmdir(path)  # noqa: PTH106


def names(path: Path) -> list[str]:
    """What a folder holds, in order."""
    return sorted(os.listdir(path))  # noqa: PTH208


def is_folder(path: Path) -> bool:
    """Whether there is a folder, itself and no link to one.

    Raises:
        OSError: Something is there that cannot be looked at.
    """
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def identity(path_or_descriptor: Path | int) -> tuple[int, int]:
    """What tells one file or folder from another of the same name: device and inode."""
    status = os.stat(path_or_descriptor)  # noqa: PTH116
    return status.st_dev, status.st_ino


def free_bytes(path: Path) -> int:
    """Room on a folder's disk for this user."""
    return shutil.disk_usage(path).free


def _full_sync() -> Callable[[int], None] | None:
    fcntl = import_module("fcntl")
    operation = getattr(fcntl, "F_FULLFSYNC", None)
    return None if operation is None else lambda descriptor: fcntl.fcntl(descriptor, operation)
