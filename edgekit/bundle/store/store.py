"""The device's store: what may be done with it. Each change ends in one commit of the state, under the store's lock.

The order is always the same: files are written and synced where nothing leads to them, then one commit leads to them
(or away from them), then what nothing leads to any more may be removed. docs/store.md goes through every point at which
it can stop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls, changes, source
from edgekit.bundle.store.disk import own_limits, replace_file, sync_folder, writing
from edgekit.bundle.store.locks import Lock, held, hold_folder
from edgekit.bundle.store.staging import NEW, OLD, STAGING, check_room, cleared, copy_bundle, new_place
from edgekit.bundle.store.state import FAILED, Slot, State
from edgekit.bundle.store.state_file import COPY_NAME, VERSIONS, commit, described, examine, read_state
from edgekit.bundle.store.trust import Policy
from edgekit.errors import EdgekitError, HostError, IntegrityError, OutputError, ParityError, UsageError
from edgekit.spec.reader import nearest

LOCK_NAME: Final = "lock"
TRIAL_LOCK_NAME: Final = "trial.lock"
LOCK_PATIENCE_S: Final = 60.0
TRIAL_PATIENCE_S: Final = 600.0

_TRIES: Final = 200
_PAUSE_S: Final = 0.01
_Result = TypeVar("_Result")


class Store:
    """Installed bundles under one folder, which is made with the first of them.

    Args:
        root: The folder. It lies within one file system, on a local disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))  # may not exist yet; what is looked at below follows no link

    def state(self) -> State:
        """What is installed.

        Raises:
            IntegrityError: The state cannot be read.
            HostError: A newer edgekit wrote it.
        """
        return read_state(self.root)

    def slot(self, name: str) -> Slot:
        """The versions of a name.

        Raises:
            UsageError: Nothing of that name is installed.
        """
        state = self.state()
        if name not in state.slots:
            known = tuple(sorted(state.slots))
            raise UsageError(
                f"{name}: is not installed in {self.root}, which holds {', '.join(known) or 'nothing'}",
                hint=nearest(name, known) or "`edgekit install BUNDLE` installs one",
            )
        return state.slots[name]

    def folder(self, identity: str) -> Path:
        """Where a version's files lie."""
        return self.root / VERSIONS / identity

    def install(
        self,
        bundle: Bundle,
        policy: Policy,
        *,
        allow_downgrade: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> str:
        """Copy a bundle into the store and put it on trial; what is active stays so until :meth:`prove`.

        Args:
            bundle: The open bundle. That this host runs it is the caller's to know.
            policy: Judges its origin, before anything is staged.
            allow_downgrade: Whether its release may be lower than one that was active.
            progress: Called with (bytes done, bytes in all) while it is copied.

        Returns:
            The version's id.

        Raises:
            IntegrityError: The bundle is not what it lists, its origin is not trusted, or it is a downgrade.
            HostError: There is not enough room.
            OutputError: The store cannot be written, or another process keeps it busy.
        """
        version = described(bundle, trust=policy(bundle))
        name, identity = bundle.manifest.name, bundle.manifest_sha256

        def listed(slot: Slot) -> Slot:
            slot = changes.installed(slot, identity, version)
            return changes.put_on_trial(slot, identity, attempts=0, allow_downgrade=allow_downgrade)

        state = self.state()
        listed(state.slot(name))  # a downgrade is refused before it is copied
        if identity in state.slot(name).versions:
            with self._leased(identity) as lease:
                if lease and self._holds(identity, bundle):
                    self.change(name, listed)
                    return identity
        with self.changing():
            check_room(self.root, bundle)
            place, lock = new_place(self.root)
        with cleared(place, lock):
            copy_bundle(bundle, place / NEW, progress)
            with self.changing() as current:
                slot = listed(current.slot(name))
                with writing(self.folder(identity)):
                    # Another process may have installed it meanwhile, and others read it: what is whole stays.
                    if identity not in current.slot(name).versions or not self._holds(identity, bundle):
                        self._move_in(place, identity)
                    commit(self.root, current.with_slot(name, slot))
        return identity

    def choose(self, name: str, identity: str, *, allow_downgrade: bool = False) -> None:
        """Put an installed version on trial.

        Raises:
            UsageError: It is not installed.
            IntegrityError: It is a downgrade.
            OutputError: The store cannot be written.
        """
        self.slot(name)
        self.change(
            name, lambda slot: changes.put_on_trial(slot, identity, attempts=0, allow_downgrade=allow_downgrade)
        )

    def prove(
        self,
        name: str,
        test: Callable[[Path], _Result],
        *,
        patience_s: float = TRIAL_PATIENCE_S,
        last_word: bool = True,
    ) -> _Result | None:
        """Test the version on trial; it becomes active when the test returns.

        The start is counted before the test begins, so that one which takes the machine down is not begun for ever.

        Args:
            name: The bundle's name.
            test: Gets the version's folder, and raises when it is not to be used.
            patience_s: How long to wait for another process that is testing a version.
            last_word: Whether any failure is final. Otherwise only wrong answers and damaged files are, and after a
                crash or a lack of memory the version stays on trial until its starts are used up.

        Returns:
            What the test returned; None when there is nothing on trial, or another process is still at it.

        Raises:
            ParityError, IntegrityError, HostError: From the test; or its starts were used up before.
            OutputError: The store cannot be written.
        """
        with held(self._lock_path(TRIAL_LOCK_NAME), patience_s=patience_s) as mine:
            identity = self.state().slot(name).trial if mine else ""
            if not identity:
                return None
            slot = self.change(name, changes.started)
            if slot.trial != identity:
                # Called off meanwhile, or given up just now.
                if (given_up := slot.versions.get(identity)) and given_up.status == FAILED:
                    raise HostError(
                        f"{name} {given_up.version}: given up: {given_up.reason}", hint="see `edgekit list`"
                    )
                return None
            with self._leased(identity) as lease:
                try:
                    if lease is None:
                        raise IntegrityError(f"{name}: the files of {identity} are gone", hint="install it again")
                    result = test(self.folder(identity))
                except EdgekitError as error:
                    # A store that cannot be written, or too few descriptors, say nothing of the version.
                    final = last_word and not isinstance(error, OutputError)
                    if final or isinstance(error, ParityError | IntegrityError):
                        reason = f"{error.kind}: {error.message}"
                        self.change(name, lambda slot: changes.failed(slot, identity, reason))
                    raise
                self.change(name, lambda slot: changes.confirmed(slot, identity))
                return result

    def roll_back(self, name: str) -> str:
        """Make the version that was active before active again, once its files are found whole.

        Returns:
            Its id.

        Raises:
            UsageError: There is none.
            IntegrityError: Its files are damaged; nothing is changed then.
            OutputError: The store cannot be written.
        """
        for _ in range(_TRIES):
            target = changes.rolled_back(self.slot(name), name).active
            with self._leased(target) as lease:
                if lease is None:
                    if self.slot(name).previous != target:
                        continue
                    raise IntegrityError(f"{name}: the files of {target} are gone", hint="install it again")
                with own_limits():
                    Bundle.open(self.folder(target)).verify()
                with self.changing() as state:
                    slot = changes.rolled_back(state.slot(name), name)
                    if slot.active == target:  # otherwise another process was quicker
                        with writing(self.root):
                            commit(self.root, state.with_slot(name, slot))
                        return target
        raise OutputError(f"{name}: the store is being changed all the time", hint="do it again")

    def reader(self, name: str) -> tuple[str, Lock]:
        """The active version, and a lease: while it is held, nobody removes the version's files.

        Raises:
            UsageError: Nothing of that name is installed, or no version of it is active.
            IntegrityError: Its files are gone.
            OutputError: The store changed too often while it was being read.
        """
        for _ in range(_TRIES):
            identity = self.slot(name).active
            if not identity:
                raise UsageError(
                    f"{name}: no version of it is active", hint=f"`edgekit activate {name}` tests one and makes it so"
                )
            lease = self.lease(identity)
            if lease is not None:
                return identity, lease
            time.sleep(_PAUSE_S)
        raise OutputError(f"{name}: the store is being changed all the time", hint="do it again")

    def lease(self, identity: str) -> Lock | None:
        """A lease on a version; None when it is just being removed.

        Raises:
            IntegrityError: It is listed, and its files are gone.
            OutputError: Its folder cannot be locked.
        """
        folder = self.folder(identity)
        try:
            lock = hold_folder(folder, shared=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            if identity not in self.state().ids():
                return None
            raise IntegrityError(f"{folder}: is missing", hint="`edgekit fsck` tells what is whole") from error
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be locked: {error.strerror or error}", hint="`edgekit fsck` tells what is whole"
            ) from error
        # Whoever removes a version takes it from the state first: what is listed now, with the lock held, stays.
        if lock is not None and lock.is_of(folder) and identity in self.state().ids():
            return lock
        if lock is not None:
            lock.release()
        return None

    def change(self, name: str, event: Callable[[Slot], Slot]) -> Slot:
        """Commit what an event makes of a name's slot; nothing is written where it makes no difference.

        Raises:
            OutputError: The store cannot be written, or another process keeps it busy.
        """
        with self.changing() as state:
            slot = event(state.slot(name))
            if slot != state.slot(name):
                with writing(self.root):
                    commit(self.root, state.with_slot(name, slot))
        return slot

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Hold the store's lock, with what an earlier crash left undone made good.

        Raises:
            OutputError: The store cannot be written, or another process keeps it busy.
            IntegrityError: The state cannot be read.
        """
        path = self._lock_path(LOCK_NAME)
        with held(path, patience_s=LOCK_PATIENCE_S) as mine:
            if not mine:
                raise OutputError(f"{path}: another process keeps the store busy", hint="do it again later")
            with writing(self.root):
                state = self._recovered()
            yield state

    def _recovered(self) -> State:
        found = examine(self.root)
        missing = [folder for folder in (VERSIONS, STAGING) if not calls.is_folder(self.root / folder)]
        for folder in missing:
            calls.mkdir(self.root / folder)
        if missing or found.fresh:
            # Before anything is in them, also where a crash left them: what is lost with them then is nothing.
            sync_folder(self.root)
            sync_folder(self.root.parent)
        if found.fresh or found.damage:
            return commit(self.root, found.state)
        if not found.in_step:
            # The commit may have been cut short before its folder was synced; the copy follows it, never the reverse.
            sync_folder(self.root)
            replace_file(self.root / COPY_NAME, found.state.to_json())
        return found.state

    def _move_in(self, place: Path, identity: str) -> None:
        # What has that name already is damaged, or was left by a crash and may not be on the disk as it seems to be.
        folder = self.folder(identity)
        if calls.is_folder(folder):
            calls.rename(folder, place / OLD)
        calls.rename(place / NEW, folder)
        sync_folder(self.root / VERSIONS)
        sync_folder(place)

    def _holds(self, identity: str, bundle: Bundle) -> bool:
        """Whether an installed version is whole, and has beside its listed files what the bundle has."""
        try:
            with own_limits():
                installed = Bundle.open(self.folder(identity))
                installed.verify()
                return source.unlisted(installed) == source.unlisted(bundle)
        except IntegrityError:
            return False

    @contextmanager
    def _leased(self, identity: str) -> Iterator[Lock | None]:
        try:
            lock = self.lease(identity)
        except IntegrityError:
            lock = None
        try:
            yield lock
        finally:
            if lock is not None:
                lock.release()

    def _lock_path(self, name: str) -> Path:
        if not calls.is_folder(self.root):
            with writing(self.root):
                _make_folders(self.root)
        return self.root / name


def _make_folders(folder: Path) -> None:
    if folder.parent != folder and not calls.is_folder(folder.parent):
        _make_folders(folder.parent)
    try:
        calls.mkdir(folder)
    except FileExistsError:
        return  # another process made it just then
    sync_folder(folder.parent)
