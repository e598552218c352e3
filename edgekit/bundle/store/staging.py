"""A new version in the making: a bundle's files copied inside the store's file system, hashed while they are copied."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls, source
from edgekit.bundle.store.disk import own_limits, remove_tree, sync_folder, write_file, writing
from edgekit.bundle.store.locks import Lock, hold_folder, remove_lock_file
from edgekit.errors import HostError, OutputError

STAGING: Final = "staging"
NEW: Final = "new"
OLD: Final = "old"

# A file takes whole blocks, and names take room too.
_BLOCK_BYTES: Final = 4096
_TRIES: Final = 200
_PAUSE_S: Final = 0.01


def check_room(folder: Path, bundle: Bundle) -> None:
    """Refuse a bundle that does not fit on the store's disk, before a byte of it is copied.

    Raises:
        HostError: With the room needed and the room there is.
    """
    entries = bundle.manifest.files
    needed = sum(entry.size + 2 * _BLOCK_BYTES for entry in entries) + 16 * _BLOCK_BYTES
    with writing(folder):
        free = calls.free_bytes(folder)
    if free < needed:
        raise HostError(
            f"{bundle.manifest.name} {bundle.manifest.version} needs {needed} bytes of disk, {folder} has {free} left",
            hint="free space there (`edgekit gc` removes versions that nothing uses), or name another store",
        )


def new_place(root: Path) -> tuple[Path, Lock]:
    """An empty folder to stage in, and the lock that tells it is in use. The caller holds the store's lock.

    Raises:
        OutputError: It cannot be made.
    """
    place = root / STAGING / secrets.token_hex(8)
    with writing(place):
        calls.mkdir(place)
        lock = hold_folder(place, shared=False)
        for _ in range(_TRIES if lock is None else 0):  # whoever counts leftovers has it locked for an instant
            time.sleep(_PAUSE_S)
            if lock := hold_folder(place, shared=False):
                break
    if lock is None:
        raise OutputError(f"{place}: somebody else holds it", hint="do it again")
    return place, lock


@contextmanager
def cleared(place: Path, lock: Lock) -> Iterator[None]:
    """Remove a staging folder on the way out. What cannot be removed is left for ``edgekit gc``."""
    try:
        yield
    finally:
        with suppress(OSError):  # it is in nobody's way
            remove_tree(place)
        lock.release()
        with suppress(OSError):
            remove_lock_file(place)


def copy_bundle(bundle: Bundle, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy a bundle into a new folder, every byte hashed as it is copied; all of it is on the disk when this returns.

    Args:
        bundle: The open bundle.
        folder: Must not exist; its parent does.
        progress: Called with (bytes done, bytes in all) after each mebibyte.

    Raises:
        IntegrityError: What was read is not what the manifest lists.
        OutputError: It cannot be written.
    """
    entries = bundle.manifest.files
    total = sum(entry.size for entry in entries)
    done = 0

    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal done
        for piece in pieces:
            done += len(piece)
            yield piece
            if progress:
                progress(min(done, total), total)

    folders = [folder, *(folder / path for path in _folders(entry.path for entry in entries))]
    with writing(folder):
        for made in folders:
            calls.mkdir(made)
    for entry in entries:
        with writing(folder / entry.path), own_limits():
            write_file(folder / entry.path, counted(bundle.stream(entry.path)))
    for path, data in source.unlisted(bundle).items():
        with writing(folder / path):
            write_file(folder / path, [data])
    with writing(folder):
        for made in reversed(folders):  # what is inside first
            sync_folder(made)


def _folders(paths: Iterator[str]) -> list[str]:
    """Every folder that the paths need, each after its parent."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            found["/".join(parts[:depth])] = None
    return sorted(found)
