"""The state on the disk: ``state.json``, whose rename is the store's one commit point, and a copy of it.

The copy is written after the commit is on the disk, so it is the same or one change older. It is read only where
``state.json`` is damaged. With both gone, the versions on the disk are listed as untested and none is active: what was
proven is not known any more, and nothing is activated by a guess.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls
from edgekit.bundle.store.disk import own_limits, read_file, replace_file
from edgekit.bundle.store.state import MAX_STATE_BYTES, Slot, State, Version, is_id
from edgekit.errors import IntegrityError, RecordError

STATE_NAME: Final = "state.json"
COPY_NAME: Final = "state.copy.json"
VERSIONS: Final = "versions"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found.

    Attributes:
        state: The state to go on with.
        damage: What is wrong with ``state.json``; empty where nothing is.
        copy_damage: What is wrong with the copy, a crash before it was written not counted.
        in_step: Whether both files hold this very state.
        fresh: Whether there is no store yet.
    """

    state: State
    damage: str = ""
    copy_damage: str = ""
    in_step: bool = True
    fresh: bool = False


def read_state(root: Path) -> State:
    """The state as it is, read without any lock: each commit is one rename.

    Raises:
        IntegrityError: It cannot be read.
        HostError: A newer edgekit wrote it.
    """
    try:
        found = _load(root / STATE_NAME)
    except RecordError:
        found = None
    return found if found is not None else examine(root).state


def examine(root: Path) -> Reading:
    """Read both files and, where neither is whole, what lies in the folders.

    Raises:
        IntegrityError: The operating system cannot read them.
        HostError: A newer edgekit wrote them.
    """
    state, error = _attempt(root / STATE_NAME)
    copy, copy_error = _attempt(root / COPY_NAME)
    damage = error.message if error else f"{STATE_NAME}: is missing"
    copy_damage = copy_error.message if copy_error else ""
    if state is not None:
        return Reading(state, copy_damage=copy_damage, in_step=copy == state)
    if copy is not None:
        return Reading(copy, damage=damage, in_step=False)
    for problem in (error, copy_error):
        if isinstance(problem, _UnreadableError):  # it may be whole, and readable the next time
            raise IntegrityError(f"{root}: {problem.message}", hint="check the disk")
    rebuilt = _rebuilt(root)
    if not error and not copy_error and not rebuilt.slots:
        return Reading(State(), in_step=False, fresh=True)
    return Reading(rebuilt, damage=damage, copy_damage=copy_damage, in_step=False)


def commit(root: Path, state: State) -> State:
    """Make a state the store's: from the rename of ``state.json`` on it is, before it is not.

    The caller holds the store's lock, and has synced whatever the state leads to.

    Returns:
        It, with the next generation.

    Raises:
        OSError: From the calls. The store then holds the old or the new state.
    """
    state = replace(state, generation=state.generation + 1)
    data = state.to_json()
    replace_file(root / STATE_NAME, data)
    replace_file(root / COPY_NAME, data)
    return state


def described(bundle: Bundle, *, trust: str) -> Version:
    """What the state says of a bundle that is untested as yet."""
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files)
    return Version(version=manifest.version, release=manifest.release, size_bytes=size, trust=trust)


class _UnreadableError(RecordError):
    """The disk gave an error instead of the content."""


def _attempt(path: Path) -> tuple[State | None, RecordError | None]:
    try:
        return _load(path), None
    except RecordError as error:
        return None, error


def _load(path: Path) -> State | None:
    with own_limits():
        return _loaded(path)


def _loaded(path: Path) -> State | None:
    try:
        data = read_file(path, MAX_STATE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in {errno.EIO, errno.ELOOP, errno.EISDIR}:
            raise _UnreadableError(f"{path.name}: cannot be read: {error.strerror}") from error
        raise IntegrityError(f"{path}: cannot be read: {error.strerror or error}", hint="check the store") from error
    return State.from_json(data, path.name)


def _rebuilt(root: Path) -> State:
    slots: dict[str, Slot] = {}
    folder = root / VERSIONS
    for identity in _names(folder):
        found = _described(folder / identity, identity)
        if found is not None:
            name, version = found
            slot = slots.get(name, Slot())
            # Which of them were ever active is not known: none of them may be gone below without being asked for.
            highest = max(slot.highest_release, version.release)
            slots[name] = Slot(highest_release=highest, versions={**slot.versions, identity: version})
    return State(0, slots)


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in calls.names(folder) if is_id(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise IntegrityError(f"{folder}: cannot be read: {error.strerror}", hint="check the disk") from error


def _described(folder: Path, identity: str) -> tuple[str, Version] | None:
    try:
        with own_limits():
            bundle = Bundle.open(folder)
    except IntegrityError:
        return None  # not whole: not a version
    if bundle.manifest_sha256 != identity:
        return None
    return bundle.manifest.name, described(bundle, trust="unknown")
