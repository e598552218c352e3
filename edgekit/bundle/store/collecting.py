"""``edgekit gc``: remove versions that nothing leads to and that nobody reads, and what crashes left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.store import calls, changes
from edgekit.bundle.store.disk import remove_file, remove_tree, sync_folder, writing
from edgekit.bundle.store.locks import LOCK_ENDING, hold_folder
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
    with store.changing() as state, writing(store.root):
        left = state
        for name, slot in state.slots.items():
            for identity in changes.collectable(slot):
                if _in_use(store.folder(identity)):
                    in_use.append((name, slot.versions[identity]))
                else:
                    removed.append((name, slot.versions[identity]))
                    left = left.with_slot(name, changes.without(left.slots[name], identity))
        # The state that leads to a version no more must be on the disk before the first of its files goes.
        if left is state:
            sync_folder(store.root)
        else:
            commit(store.root, left)
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
        for name in _names(store.root / VERSIONS)
        if name.removesuffix(LOCK_ENDING) not in ids
    ]
    staging = [store.root / STAGING / name for name in _names(store.root / STAGING)]
    drafts = [store.root / name for name in _names(store.root) if name.startswith(".state.")]
    return [path for path in (*versions, *staging, *drafts) if not _in_use(path)]


def _sweep(store: Store, state: State) -> int:
    paths = unlisted(store, state)
    for path in paths:
        remove_tree(path)
        if os.name == "nt":
            remove_file(path.with_name(path.name + LOCK_ENDING))  # made when it was asked whether it is in use
    for folder in sorted({path.parent for path in paths}):
        sync_folder(folder)
    return len(paths)


def _in_use(path: Path) -> bool:
    if not calls.is_folder(path):
        return False
    try:
        lock = hold_folder(path, shared=False)
    except FileNotFoundError:
        return False
    if lock is None:
        return True
    lock.release()  # a reader that comes now finds it listed no more, and lets go again
    return False


def _names(folder: Path) -> list[str]:
    try:
        return calls.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
