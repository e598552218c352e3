"""Several processes on one store: they wait for each other, never mix, and a dead one leaves nothing locked."""

import errno
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls, locks
from edgekit.bundle.store import store as store_module
from edgekit.bundle.store.checking import check
from edgekit.bundle.store.collecting import collect
from edgekit.bundle.store.locks import held, hold_folder
from edgekit.bundle.store.store import Store
from edgekit.errors import OutputError

from .scenarios import NAME, identity_of, install, seen
from .shim import Shim
from .test_kills import REPOSITORY, drive

fcntl = pytest.importorskip("fcntl")


def test_processes_share_a_store(quick_path):
    counts = drive("together", quick_path, 8, 6, 3)
    assert counts["problems"] == []
    assert counts["commits"] > 8


@pytest.mark.long
def test_8_processes_share_a_store_for_long(quick_path, tally):
    counts = drive("together", quick_path, 8, 100, 5)
    tally(
        f"8 processes, {counts['operations']} operations, {counts['commits']} commits, {len(counts['problems'])} wrong"
    )
    assert counts["problems"] == []


def test_two_installers_at_once_leave_one_of_their_bundles_active_and_both_whole(bundles, quick_path):
    store = Store(quick_path / "store")
    errors = []

    def work(release):
        try:
            install(Store(store.root), bundles[release], allow_downgrade=True)
        except OutputError as error:
            errors.append(error)

    for _ in range(5):
        racers = [threading.Thread(target=work, args=(release,)) for release in (1, 2)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert seen(store)[0] in {1, 2}
    assert not errors
    collect(store)
    assert {path.name for path in (store.root / "staging").iterdir()} == set()


def test_what_another_process_installed_meanwhile_is_not_replaced_under_its_readers(bundles, quick_path):
    store = Store(quick_path / "store")
    kept = []

    def meanwhile(done, total):
        if not kept:
            install(Store(store.root), bundles[1])
            kept.append(store.reader(NAME))

    store.install(Bundle.open(bundles[1]), lambda bundle: "unsigned", progress=meanwhile)
    identity, lease = kept[0]
    assert lease.is_of(store.folder(identity))
    assert seen(store)[0] == 1
    lease.release()


@pytest.fixture
def holder(quick_path):
    """A process that holds both locks of a store until it is killed."""
    folder = quick_path / "store"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.driver", "hold", str(folder)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout.readline() == b"held\n"
    yield folder, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_held_lock_makes_others_wait_and_then_say_so(holder, bundles, monkeypatch):
    monkeypatch.setattr(store_module, "LOCK_PATIENCE_S", 0.2)
    with pytest.raises(OutputError, match="keeps the store busy"):
        install(Store(holder[0]), bundles[1])


def test_when_the_lock_holder_dies_the_next_goes_on_at_once(holder, bundles):
    folder, process = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    install(Store(folder), bundles[1])
    assert seen(Store(folder))[0] == 1


def test_who_reads_a_version_keeps_it_even_from_gc_and_a_dead_reader_does_not(bundles, quick_path):
    store = Store(quick_path / "store")
    install(store, bundles[1])
    script = (
        "import sys, time; from pathlib import Path; from edgekit.bundle.store.store import Store; "
        f"lease = Store(Path(sys.argv[1])).reader({NAME!r}); print('reading', flush=True); time.sleep(600)"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", script, store.root], stdout=subprocess.PIPE, cwd=REPOSITORY, env=os.environ
    )
    try:
        assert reader.stdout.readline() == b"reading\n"
        one = identity_of(store, 1)
        install(store, bundles[2])
        install(store, bundles[3])
        assert [version.release for _, version in collect(store).in_use] == [1]
        assert store.folder(one).is_dir()
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
    assert [version.release for _, version in collect(store).removed] == [1]
    assert not store.folder(one).exists()


def test_a_lease_is_not_inherited_by_programs_that_are_started(bundles, quick_path):
    store = Store(quick_path / "store")
    install(store, bundles[1])
    _, lease = store.reader(NAME)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    try:
        lease.release()
        deadline = time.monotonic() + 10  # Linux lets the parent go on a moment before it closes the child's copies
        while (lock := hold_folder(store.folder(identity_of(store, 1)), shared=False)) is None:
            assert time.monotonic() < deadline
        lock.release()
    finally:
        sleeper.kill()
        sleeper.wait()


class LikeWindows:
    """msvcrt.locking made of Linux's locks on bytes that belong to a descriptor, as LockFile's belong to a handle."""

    LK_NBLCK = 2

    def __init__(self):
        self.starts = []

    def locking(self, descriptor, mode, count):
        assert mode == self.LK_NBLCK
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        self.starts.append(start)
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, count, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
        except OSError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error


@pytest.fixture
def windows(monkeypatch):
    if not hasattr(fcntl, "F_OFD_SETLK"):
        pytest.skip("no locks that belong to a descriptor here")
    made = LikeWindows()
    monkeypatch.setattr(calls, "WINDOWS", True)
    monkeypatch.setattr(locks, "import_module", {"msvcrt": made}.__getitem__)
    return made


def test_on_windows_shared_locks_go_together_and_exclusive_ones_do_not(windows, tmp_path):
    (tmp_path / "folder").mkdir()
    first, second = (hold_folder(tmp_path / "folder", shared=True) for _ in range(2))
    assert first is not None
    assert second is not None
    assert hold_folder(tmp_path / "folder", shared=False) is None
    first.release()
    assert hold_folder(tmp_path / "folder", shared=False) is None
    second.release()
    alone = hold_folder(tmp_path / "folder", shared=False)
    assert alone is not None
    assert hold_folder(tmp_path / "folder", shared=True) is None
    alone.release()
    assert min(windows.starts) >= 1 << 40  # no read or write of the file meets a locked byte


def test_on_windows_a_reader_keeps_a_version_and_no_lock_files_pile_up(windows, bundles, quick_path):
    store = Store(quick_path / "store")
    install(store, bundles[1])
    _, lease = store.reader(NAME)
    one = identity_of(store, 1)
    install(store, bundles[2])
    install(store, bundles[3])
    assert [version.release for _, version in collect(store).in_use] == [1]
    lease.release()
    assert [version.release for _, version in collect(store).removed] == [1]
    left = {path.name.removesuffix(".lock") for path in (store.root / "versions").iterdir()}
    assert left == store.state().ids()
    assert one not in left
    assert not list((store.root / "staging").iterdir())
    assert check(store).damage == ()


def test_a_clock_that_jumps_changes_nothing(bundles, quick_path, monkeypatch):
    """Nothing asks for the time of day: a store made in the future is read in the past."""
    store = Store(quick_path / "store")
    for now in (4e9, 0.0, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        for path in [store.root, *store.root.rglob("*")] if store.root.exists() else []:
            os.utime(path, (now, now))
        install(store, bundles[2 if now else 1], allow_downgrade=True)
        collect(store)
    assert seen(store)[0] == 2


def test_held_says_when_it_was_not_to_be_had(tmp_path):
    with held(tmp_path / "lock", patience_s=0) as first, held(tmp_path / "lock", patience_s=0.03) as second:
        assert (first, second) == (True, False)
    with Shim(), held(tmp_path / "lock", patience_s=0) as again:
        assert again
