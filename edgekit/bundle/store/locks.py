"""Locks between processes that end with their holder, however it ends; no clock and no process number is looked at.

On Linux and macOS ``flock`` on a file or folder. On Windows ``LockFile`` on bytes far behind a file's end: the
exclusive lock takes all of a range, a shared one a byte of it. The system releases either with the last descriptor.
"""

from __future__ import annotations

import errno
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from edgekit.bundle.store import calls
from edgekit.errors import OutputError

LOCK_ENDING: Final = ".lock"

_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_PAUSE_S: Final = 0.01
_RANGE_START: Final = 1 << 40  # behind any file's end, so that no read or write meets it
_RANGE_BYTES: Final = (1 << 31) - 1  # the most that msvcrt.locking takes


class Lock:
    """A lock that is held; :meth:`release` or the process's end lets go of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._release = weakref.finalize(self, _close_quietly, descriptor)

    def is_of(self, folder: Path) -> bool:
        """Whether the folder that was locked is the one which now has this path."""
        try:
            return calls.identity(self._descriptor) == calls.identity(_stand_in(folder))
        except OSError:
            return False

    def release(self) -> None:
        """Let go; a second time does nothing."""
        self._release()


def hold(path: Path, opener: Callable[[Path], int], *, shared: bool) -> Lock | None:
    """Take a lock at once, or not.

    Args:
        path: The file or folder.
        opener: Which function of :mod:`~edgekit.bundle.store.calls` opens it.
        shared: Whether others may hold it too, as long as they share it.

    Returns:
        The lock; None where another holds it.

    Raises:
        OSError: The path cannot be opened, or its file system has no locks.
    """
    descriptor = opener(path)
    try:
        lock_now(descriptor, shared=shared)
    except OSError as error:
        calls.close(descriptor)
        if error.errno in _TAKEN:
            return None
        raise
    return Lock(descriptor)


def hold_folder(folder: Path, *, shared: bool) -> Lock | None:
    """Take a folder's lock at once, or not; see :func:`hold`."""
    return hold(_stand_in(folder), calls.open_lock if calls.WINDOWS else calls.open_folder, shared=shared)


def remove_lock_file(folder: Path) -> None:
    """Remove what stood for a folder that is gone, where that was a file of its own.

    Raises:
        OSError: It cannot be removed; not where there is none.
    """
    if calls.WINDOWS:
        with suppress(FileNotFoundError):
            calls.unlink(_stand_in(folder))


@contextmanager
def held(path: Path, *, patience_s: float) -> Iterator[bool]:
    """Hold an exclusive lock for a while; True in the block, or False when it was not to be had in time.

    Raises:
        OutputError: The lock's file cannot be opened or locked.
    """
    deadline = time.monotonic() + patience_s
    try:
        lock = hold(path, calls.open_lock, shared=False)
        while lock is None and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            lock = hold(path, calls.open_lock, shared=False)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be locked: {error.strerror or error}",
            hint="the store lies on a local disk that this user may write to",
        ) from error
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def lock_now(descriptor: int, *, shared: bool) -> None:
    """Lock an open file or folder, without waiting.

    Raises:
        BlockingIOError: Another holds it; on Windows a PermissionError.
        OSError: There are no locks here.
    """
    if calls.WINDOWS:
        _lock_bytes(import_module("msvcrt"), descriptor, shared=shared)
        return
    fcntl = import_module("fcntl")
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _stand_in(folder: Path) -> Path:
    # Windows opens no folders: a file beside it is locked for it.
    return folder.with_name(folder.name + LOCK_ENDING) if calls.WINDOWS else folder


def _lock_bytes(msvcrt: Any, descriptor: int, *, shared: bool) -> None:
    # Two who share a lock meet on one byte of two thousand million by chance alone; that one then tries again.
    first = random.randrange(_RANGE_BYTES) if shared else 0  # noqa: S311 - no secret
    os.lseek(descriptor, _RANGE_START + first, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1 if shared else _RANGE_BYTES)


def _close_quietly(descriptor: int) -> None:
    with suppress(OSError):  # closing lets go of the lock whatever it reports
        calls.close(descriptor)
