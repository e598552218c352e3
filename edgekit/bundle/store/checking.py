"""``edgekit fsck``: is every installed version what it was when it was installed, and the state what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls, changes
from edgekit.bundle.store.collecting import unlisted
from edgekit.bundle.store.disk import own_limits, writing
from edgekit.bundle.store.state import FAILED, State
from edgekit.bundle.store.state_file import commit, examine
from edgekit.bundle.store.store import Store
from edgekit.errors import IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        versions: How many were read, byte for byte.
        size_bytes: How much that was.
        damage: What is not as it was written, one line each.
        leftovers: Folders and files of crashed installs; they hurt nobody, and ``edgekit gc`` removes them.
    """

    versions: int
    size_bytes: int
    damage: tuple[str, ...]
    leftovers: int


def check(store: Store, progress: Callable[[int, int], None] | None = None) -> Report:
    """Read the state and every byte of every version that has not failed. Nothing is changed, nobody kept waiting.

    Args:
        store: The store.
        progress: Called with (bytes done, bytes in all).

    Raises:
        HostError: A newer edgekit wrote it.
        IntegrityError: The state cannot be read by the system.
        OutputError: This process lacks descriptors or memory; nothing is said about damage then.
    """
    found = examine(store.root)
    damage = [problem for problem in (found.damage, found.copy_damage) if problem]
    bad, checked, size = _check_versions(store, found.state, progress)
    damage += [f"{name} {found.state.slots[name].versions[identity].version}: {why}" for name, identity, why in bad]
    return Report(checked, size, tuple(damage), len(unlisted(store, found.state)))


def repair(store: Store) -> Report:
    """Write the state anew, and take damaged versions out of use: what was active before takes an active one's place.

    A damaged version's files are left to ``edgekit gc``; installing the bundle again brings whole ones.

    Returns:
        What a check finds afterwards.

    Raises:
        OutputError: The store cannot be written.
    """
    bad, _, _ = _check_versions(store, store.state(), None)
    with store.changing() as state:
        left = state
        for name, identity, why in bad:
            slot = left.slot(name)
            left = left.with_slot(name, changes.failed(slot, identity, f"damaged: {why}"))
        # Committed even where nothing is damaged but a copy of the state: that writes both anew.
        with writing(store.root):
            commit(store.root, left)
    return check(store)


def _check_versions(
    store: Store, state: State, progress: Callable[[int, int], None] | None
) -> tuple[list[tuple[str, str, str]], int, int]:
    # One that failed is opened by nobody before it was tested again.
    listed = [
        (name, identity)
        for name, slot in state.slots.items()
        for identity, version in slot.versions.items()
        if version.status != FAILED
    ]
    total = sum(state.slots[name].versions[identity].size_bytes for name, identity in listed)
    bad: list[tuple[str, str, str]] = []
    done = checked = 0
    for name, identity in listed:
        advance = _from(done, total, progress)
        if not calls.is_folder(store.folder(identity)):
            why = "its folder is missing" if identity in store.state().ids() else ""
        else:
            lease = store.lease(identity)
            if lease is None:
                continue  # removed meanwhile
            try:
                why = _read_through(store.folder(identity), name, advance)
            finally:
                lease.release()
        if why:
            bad.append((name, identity, why))
        checked += 1
        done += state.slots[name].versions[identity].size_bytes
    return bad, checked, done


def _read_through(folder: Path, name: str, progress: Callable[[int, int], None] | None) -> str:
    """What is wrong with a version's files; empty where nothing is."""
    try:
        with own_limits():
            bundle = Bundle.open(folder)
            if (bundle.manifest.name, bundle.manifest_sha256) != (name, folder.name):
                return f"{MANIFEST_NAME} is not the one that was installed"
            bundle.verify(progress)
    except IntegrityError as error:
        return error.message
    return ""


def _from(start: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda at, _: progress(start + at, total)
