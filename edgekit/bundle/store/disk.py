"""Writing durably, removing, and what the operating system's errors mean; made of the calls in ``calls``."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from edgekit.bundle.store import calls
from edgekit.errors import IntegrityError, OutputError

_HINTS: Final = {
    errno.ENOSPC: "free space on that disk (`edgekit gc` removes what nothing uses), then do it again",
    errno.EDQUOT: "free space in your quota (`edgekit gc` removes what nothing uses), then do it again",
    errno.EROFS: "that file system is read-only; name another store",
    errno.EACCES: "this user may not write there; change the store's permissions or name another store",
    errno.EPERM: "this user may not write there; change the store's permissions or name another store",
    errno.EMFILE: "close files or raise the limit on open files, then do it again",
    errno.ENFILE: "the system has too many open files; do it again later",
    errno.EXDEV: "a store lies within one file system; name another store",
}
_OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_WINDOWS_RETRIES: Final = 100


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's errors in the block into an :class:`OutputError` about a path of the store."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the disk; `edgekit fsck` tells what is whole")
        raise OutputError(f"{path}: cannot be changed: {error.strerror or error}", hint=hint) from error


@contextmanager
def own_limits() -> Iterator[None]:
    """Tell this process's want of descriptors or memory from a damaged bundle, which reading one does not.

    Raises:
        OutputError: In the place of an IntegrityError that came from such a want.
    """
    try:
        yield
    except IntegrityError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _OWN_LIMITS:
            raise OutputError(error.message, hint=_HINTS.get(cause.errno, "do it again later")) from error
        raise


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file and wait until its content is on the disk. Its name is not, before its folder is synced.

    When a call fails nothing is tried again on that descriptor: after a failed sync the system may have thrown the
    data away and report success the next time (https://lwn.net/Articles/752063/).

    Raises:
        OSError: From the calls.
    """
    descriptor = calls.open_new(path)
    try:
        for piece in pieces:
            _write_all(descriptor, piece)
        calls.fsync(descriptor)
    except BaseException:
        _close_after_failure(descriptor)
        raise
    calls.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk. Windows has no such call; NTFS journals names.

    Raises:
        OSError: From the calls.
    """
    if calls.WINDOWS:
        return
    descriptor = calls.open_folder(path)
    try:
        calls.fsync(descriptor)
    except BaseException:
        _close_after_failure(descriptor)
        raise
    calls.close(descriptor)


def read_file(path: Path, limit: int) -> bytes:
    """A file's content, of which at most one byte more than ``limit`` is read.

    Raises:
        OSError: From the calls.
    """
    descriptor = calls.open_read(path)
    try:
        data = b""
        while len(data) <= limit and (piece := calls.read(descriptor, limit + 1 - len(data))):
            data += piece
    finally:
        calls.close(descriptor)
    return data


def replace_file(path: Path, data: bytes) -> None:
    """Put a new file in a file's place in one step, on the disk when this returns.

    Only one process may do so at a time. A crash leaves the old or the new file, and perhaps a file ``.NAME.new`` that
    the next call removes.

    Raises:
        OSError: From the calls.
    """
    draft = path.with_name(f".{path.name}.new")
    remove_file(draft)
    try:
        write_file(draft, [data])
        _rename_patiently(draft, path)
    except OSError:
        _try_to_remove(draft)
        raise
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file or link; none there is no error.

    Raises:
        OSError: From the calls.
    """
    try:
        calls.unlink(path)
    except FileNotFoundError:
        return


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds, or a file; links are removed, not followed. None there is no error.

    Raises:
        OSError: From the calls.
    """
    if not calls.is_folder(path):
        remove_file(path)
        return
    for name in calls.names(path):
        remove_tree(path / name)
    calls.rmdir(path)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        count = calls.write(descriptor, rest)
        if count <= 0:
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[count:]


def _rename_patiently(source: Path, destination: Path) -> None:
    # Windows replaces no file that somebody has open just then; a reader of the state has it open for an instant.
    for _ in range(_WINDOWS_RETRIES if calls.WINDOWS else 0):
        try:
            calls.rename(source, destination)
        except PermissionError:
            time.sleep(0.01)
        else:
            return
    calls.rename(source, destination)


def _close_after_failure(descriptor: int) -> None:
    with suppress(OSError):  # the failure before it is the one to tell
        calls.close(descriptor)


def _try_to_remove(path: Path) -> None:
    with suppress(OSError):  # the next change removes it
        remove_file(path)
