"""``edgekit gc``: remove versions that nothing leads to and that nobody reads, and what crashes left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.store import calls, changes
from edgekit.bundle.store.disk import remove_tree, sync_folder, writing
from edgekit.bundle.store.locks import LOCK_ENDING, Lock, hold_folder, remove_lock_file
from edgekit.bundle.store.staging import STAGING
from edgekit.bundle.store.state import State, Version
from edgekit.bundle.store.state_file import VERSIONS, commit
from edgekit.bundle.store.store import Store
from edgekit.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Collected:
    """What was done.

    Attributes:
        removed: Name and version of what was removed.
        in_use: Name and version of what a process still reads.
        leftovers: How many folders and files of crashed installs were removed.
    """

    removed: tuple[tuple[str, Version], ...]
    in_use: tuple[tuple[str, Version], ...]
    leftovers: int


def collect(store: Store) -> Collected:
    """Remove what nothing leads to: neither the active, the previous nor the version on trial, nor a newer one.

    Raises:
        OutputError: The store cannot be written; nothing that is listed was removed then.
        IntegrityError: The state cannot be read.
    """
    removed: list[tuple[str, Version]] = []
    in_use: list[tuple[str, Version]] = []
    locks: list[Lock] = []
    with store.changing() as state, writing(store.root):
        left = state
        try:
            for name, slot in state.slots.items():
                for identity in changes.collectable(slot):
                    free, lock = _locked(store.folder(identity))
                    if not free:
                        in_use.append((name, slot.versions[identity]))
                        continue
                    if lock is not None:
                        locks.append(lock)
                    removed.append((name, slot.versions[identity]))
                    left = left.with_slot(name, changes.without(left.slots[name], identity))
            # The state that leads to a version no more must be on the disk before the first of its files goes.
            if left is state:
                sync_folder(store.root)
            else:
                commit(store.root, left)
        finally:
            # Held until here: a late reader finds a version locked before the commit, and listed no more after it.
            for lock in locks:
                lock.release()
        leftovers = _sweep(store, left) - len(removed)
    return Collected(tuple(removed), tuple(in_use), max(0, leftovers))


def unlisted(store: Store, state: State) -> list[Path]:
    """What lies in the store's folders and is neither a version nor something in the making.

    Raises:
        IntegrityError: A folder cannot be read.
    """
    try:
        return _unlisted(store, state)
    except OSError as error:
        raise IntegrityError(
            f"{store.root}: cannot be read: {error.strerror or error}", hint="check the disk"
        ) from error


def _unlisted(store: Store, state: State) -> list[Path]:
    ids = state.ids()
    versions = [
        store.root / VERSIONS / name
        for name in _without_locks(store.root / VERSIONS)
        if name.removesuffix(LOCK_ENDING) not in ids
    ]
    staging = [store.root / STAGING / name for name in _without_locks(store.root / STAGING)]
    drafts = [store.root / name for name in _names(store.root) if name.startswith(".state.")]
    return [path for path in (*versions, *staging, *drafts) if not _in_use(path)]


def _sweep(store: Store, state: State) -> int:
    paths = unlisted(store, state)
    for path in paths:
        remove_tree(path)
        remove_lock_file(path)
    for folder in sorted({path.parent for path in paths}):
        sync_folder(folder)
    return len(paths)


def _in_use(path: Path) -> bool:
    free, lock = _locked(path)
    if lock is not None:
        lock.release()  # nothing leads to it: whoever takes the lock now lets go again
    return not free


def _locked(path: Path) -> tuple[bool, Lock | None]:
    """Whether nobody uses it, and the lock that keeps it so; there is none on what is not a folder, or is gone."""
    if not calls.is_folder(path):
        return True, None
    try:
        lock = hold_folder(path, shared=False)
    except FileNotFoundError:
        return True, None
    return lock is not None, lock


def _without_locks(folder: Path) -> list[str]:
    # On Windows a lock's file lies beside the folder it is for, and goes with it.
    names = _names(folder)
    return [name for name in names if not (name.endswith(LOCK_ENDING) and name.removesuffix(LOCK_ENDING) in names)]


def _names(folder: Path) -> list[str]:
    try:
        return calls.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
