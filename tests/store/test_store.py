"""The device store: what it promises of one operation at a time."""

import dataclasses
import json
import shutil

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store import calls, collecting, state_file
from edgekit.bundle.store.checking import check, repair
from edgekit.bundle.store.collecting import collect
from edgekit.bundle.store.state import Slot, State, Version
from edgekit.bundle.store.store import Store
from edgekit.errors import HostError, IntegrityError, OutputError, RecordError, UsageError
from edgekit.spec.checksum import seal

from .bundles import write_release
from .scenarios import NAME, activate, damage_file, fails, identity_of, install, machine_goes_down, passes, seen
from .shim import FAULTS, Shim


@pytest.fixture
def store(quick_path):
    return Store(quick_path / "below" / "store")


@pytest.fixture
def two(store, bundles):
    install(store, bundles[1])
    install(store, bundles[2])
    return store


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installed_version_is_a_copy_in_a_folder_named_by_its_manifest(store, bundles):
    install(store, bundles[1])
    identity = store.slot(NAME).active
    folder = store.folder(identity)
    assert identity == Bundle.open(bundles[1]).manifest_sha256 == folder.name
    assert files_of(folder) == files_of(bundles[1])
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or path.stat().st_nlink == 1
    assert {path.name for path in store.root.iterdir()} == {
        "lock",
        "staging",
        "state.copy.json",
        "state.json",
        "trial.lock",
        "versions",
    }
    assert not list((store.root / "staging").iterdir())


def test_a_version_becomes_active_when_its_test_passed_and_not_before(store, bundles):
    install(store, bundles[1])
    install(store, bundles[2], defer=True)
    assert seen(store)[:4] == (1, 0, 2, 0)

    def looks(folder):
        assert folder == store.folder(identity_of(store, 2))
        assert seen(store)[:4] == (1, 0, 2, 1)

    store.prove(NAME, looks)
    assert seen(store)[:4] == (2, 1, 0, 0)


def test_a_version_that_fails_leaves_the_old_one_active_and_is_remembered_with_the_reason(two, bundles):
    with pytest.raises(Exception, match="wrong answers"):
        install(two, bundles[3], fails)
    assert seen(two)[:3] == (2, 1, 0)
    assert two.slot(NAME).versions[identity_of(two, 3)].reason == "parity: wrong answers"
    install(two, bundles[3])
    assert seen(two)[:3] == (3, 2, 0)


def test_after_three_starts_that_nobody_saw_the_end_of_a_trial_is_given_up(store, bundles):
    install(store, bundles[1])
    install(store, bundles[2], defer=True)
    for start in (1, 2, 3):
        with pytest.raises(RuntimeError):
            store.prove(NAME, machine_goes_down, last_word=False)
        assert seen(store)[:4] == (1, 0, 2, start)
    with pytest.raises(HostError, match="given up: 3 starts"):
        store.prove(NAME, passes, last_word=False)
    assert seen(store)[:4] == (1, 0, 0, 0)
    assert store.prove(NAME, passes, last_word=False) is None


def test_an_older_release_needs_to_be_allowed_also_after_a_rollback(two, bundles, quick_path):
    with pytest.raises(IntegrityError, match="release 1 is older than release 2"):
        install(two, bundles[1])
    two.roll_back(NAME)
    assert seen(two)[:5] == (1, 0, 0, 0, 2)
    older = write_release(quick_path / "older", 0)
    with pytest.raises(IntegrityError, match="older than release 2"):
        install(two, older)
    before = seen(two)
    assert not list((two.root / "staging").iterdir())
    install(two, older, allow_downgrade=True)
    assert seen(two)[:5] == (0, 1, 0, 0, before[4])


def test_a_release_that_failed_does_not_forbid_the_ones_before_it(store, bundles):
    install(store, bundles[1])
    with pytest.raises(Exception, match="wrong answers"):
        install(store, bundles[3], fails)
    install(store, bundles[2])
    assert seen(store)[0] == 2


def test_rollback_goes_one_step_and_only_to_whole_files(two, bundles):
    install(two, bundles[3])
    damage_file(two, 2)
    with pytest.raises(IntegrityError, match="sha256"):
        two.roll_back(NAME)
    assert seen(two)[:2] == (3, 2)
    install(two, bundles[2], allow_downgrade=True)
    two.roll_back(NAME)
    assert seen(two)[:2] == (3, 0)
    with pytest.raises(UsageError, match="no previous version"):
        two.roll_back(NAME)


def test_gc_removes_what_nothing_leads_to_and_keeps_what_is_newer(two, bundles):
    install(two, bundles[3])
    assert [version.release for _, version in collect(two).removed] == [1]
    two.roll_back(NAME)
    assert [version.release for _, version in collect(two).removed] == [3]
    assert seen(two) == (2, 0, 0, 0, 3, ((2, "good"),))
    install(two, bundles[3], defer=True)
    install(two, bundles[2])  # calls the trial of 3 off
    assert collect(two).removed[0][1].release == 3
    assert check(two).damage == ()


def test_a_reader_who_comes_while_gc_commits_gets_no_lease_on_what_is_removed(two, bundles, monkeypatch):
    install(two, bundles[3])
    late = identity_of(two, 1)  # a program read the state when this was active, and only now asks for the lease
    leases = []

    def slow_commit(root, state):
        leases.append(two.lease(late))
        done = state_file.commit(root, state)
        leases.append(two.lease(late))
        return done

    monkeypatch.setattr(collecting, "commit", slow_commit)
    assert [version.release for _, version in collect(two).removed] == [1]
    assert leases == [None, None]


def test_the_policy_is_asked_before_anything_is_staged_and_its_answer_is_kept(store, bundles):
    def refuses(bundle):
        raise IntegrityError("signed by nobody we trust")

    with pytest.raises(IntegrityError, match="nobody we trust"):
        store.install(Bundle.open(bundles[1]), refuses)
    assert not store.root.exists()
    store.install(Bundle.open(bundles[1]), lambda bundle: "key:abc")
    assert store.slot(NAME).versions[identity_of(store, 1)].trust == "key:abc"


def test_a_bundle_without_room_is_refused_before_it_is_copied(two, bundles, monkeypatch):
    monkeypatch.setattr(calls, "free_bytes", lambda path: 4096)
    with pytest.raises(HostError, match="bytes of disk") as refused:
        install(two, bundles[3])
    assert refused.value.exit_code == 8
    assert seen(two)[:3] == (2, 1, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"SAFE graph"),
        lambda path: path.write_bytes(b"safe"),
        lambda path: path.write_bytes(b"safe graph and more"),
        lambda path: path.unlink(),
        lambda path: shutil.rmtree(path.parent),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.parents[2] / "edgekit.json").write_bytes(b"{}"),
        lambda path: (path.parents[2] / "edgekit.json").unlink(),
    ],
    ids=["changed", "cut", "grown", "gone", "folder gone", "a link", "a folder", "manifest changed", "manifest gone"],
)
def test_a_source_that_changes_while_it_is_read_ends_in_one_error_and_changes_nothing(two, bundles, quick_path, spoil):
    source = quick_path / "source"
    shutil.copytree(bundles[3], source)
    before = files_of(two.root / "versions"), seen(two)
    spoilt = []

    def progress(done, total):
        if not spoilt:
            spoilt.append(spoil(source / "model" / "safe" / "model.onnx"))

    with pytest.raises(IntegrityError) as refused:
        two.install(Bundle.open(source), lambda bundle: "unsigned", progress=progress)
    assert spoilt
    assert refused.value.hint
    assert (files_of(two.root / "versions"), seen(two)) == before
    assert not list((two.root / "staging").iterdir())


def test_a_rotten_byte_is_found_by_fsck_and_healed_by_installing_again(two, bundles):
    damage_file(two, 2)
    (damage,) = check(two).damage
    assert "model/int8/model.onnx" in damage
    install(two, bundles[2])
    assert check(two).damage == ()
    assert seen(two)[:2] == (2, 1)


def test_every_byte_of_an_installed_version_is_watched(store, bundles):
    install(store, bundles[1])
    folder = store.folder(store.slot(NAME).active)
    flipped = 0
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        for position in range(0, len(data), 1 if len(data) < 100 else 37):
            rotten = bytearray(data)
            rotten[position] ^= 1 << position % 8
            path.write_bytes(rotten)
            assert check(store).damage, (path, position)
            flipped += 1
        if data:
            path.write_bytes(data)
    assert flipped > 100
    assert check(store).damage == ()


def test_repair_takes_a_damaged_version_out_of_use(two):
    damage_file(two, 2)
    assert repair(two).damage == ()
    assert seen(two)[:2] == (1, 0)
    assert seen(two)[5] == ((1, "good"), (2, "failed"))
    damage_file(two, 1)
    repair(two)
    assert seen(two)[:2] == (0, 0)
    with pytest.raises(UsageError, match="no version of it is active"):
        two.reader(NAME)


def test_a_version_whose_folder_is_gone_is_damage_and_no_traceback(two):
    shutil.rmtree(two.folder(identity_of(two, 2)))
    assert "missing" in check(two).damage[0]
    with pytest.raises(IntegrityError, match="missing"):
        two.reader(NAME)
    repair(two)
    assert seen(two)[0] == 1


def test_a_manifest_that_was_sealed_anew_is_not_the_one_installed(two):
    path = two.folder(identity_of(two, 2)) / "edgekit.json"
    path.write_bytes(seal(path.read_bytes().replace(b'"1.2"', b'"9.9"'), "edgekit.json"))
    Bundle.open(path.parent).verify()  # whole, for whoever does not know its id
    assert "not the one that was installed" in check(two).damage[0]


TORN = {
    "empty": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
    "a flipped bit": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "something else": lambda data: b"\xff\xfe not json",
    "another object": lambda data: b"{}",
}


@pytest.mark.parametrize("how", TORN)
def test_a_torn_state_is_read_from_its_copy(two, bundles, how):
    path = two.root / "state.json"
    before = seen(two)
    path.write_bytes(TORN[how](path.read_bytes()))
    assert seen(two) == before
    assert two.reader(NAME)[0] == identity_of(two, 2)
    assert "state.json" in check(two).damage[0]
    install(two, bundles[3])
    assert check(two).damage == ()
    assert seen(two)[:2] == (3, 2)


@pytest.mark.parametrize("how", TORN)
def test_with_both_states_torn_nothing_is_active_until_it_is_tested_again(two, how):
    for name in ("state.json", "state.copy.json"):
        path = two.root / name
        path.write_bytes(TORN[how](path.read_bytes()))
    assert seen(two) == (0, 0, 0, 0, 2, ((1, "untested"), (2, "untested")))
    with pytest.raises(UsageError, match="no version of it is active"):
        two.reader(NAME)
    with pytest.raises(IntegrityError, match="older"):
        activate(two, 1)
    activate(two, 2)
    assert seen(two)[0] == 2
    assert check(two).damage == ()


def test_files_that_are_not_whole_do_not_come_back_as_versions(two):
    shutil.rmtree(two.folder(identity_of(two, 1)) / "golden")
    for name in ("state.json", "state.copy.json"):
        (two.root / name).unlink()
    assert seen(two)[5] == ((2, "untested"),)


def test_a_torn_copy_is_damage_and_the_next_change_writes_it_anew(two, bundles):
    (two.root / "state.copy.json").write_bytes(b"")
    assert "state.copy.json" in check(two).damage[0]
    install(two, bundles[3])
    assert check(two).damage == ()
    assert (two.root / "state.copy.json").read_bytes() == (two.root / "state.json").read_bytes()


def test_a_state_of_a_newer_edgekit_is_refused_and_left_alone(two, bundles):
    path = two.root / "state.json"
    data = seal(path.read_bytes().replace(b'"schema_version": "1.0"', b'"schema_version": "2.0"'), "state")
    path.write_bytes(data)
    for work in (lambda: two.reader(NAME), lambda: install(two, bundles[3]), lambda: check(two), lambda: collect(two)):
        with pytest.raises(HostError, match=r"schema 2\.0"):
            work()
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "change",
    [
        {"active": "ab" * 32},
        {"trial": "../../etc"},
        {"attempts": 4},
        {"attempts": 1.0},
        {"versions": {"../x": {}}},
        {"surprise": 1},
        {"highest_release": -1},
    ],
)
def test_a_state_that_means_nothing_is_refused_as_damaged(change):
    one = "12" * 32
    state = State(3, {"tiny": Slot(active=one, versions={one: Version("1", 1, 10, status="good")})})
    assert State.from_json(state.to_json(), "state.json") == state
    document = json.loads(state.to_json())
    document["slots"]["tiny"] |= change
    data = seal(json.dumps(document).encode(), "state")
    with pytest.raises(RecordError):
        State.from_json(data, "state.json")


def test_what_is_active_must_be_proven_also_in_a_state_that_was_made_up():
    one = "12" * 32
    for status in ("untested", "failed"):
        state = State(3, {"tiny": Slot(active=one, versions={one: Version("1", 1, 10, status=status)})})
        with pytest.raises(RecordError, match="not good"):
            State.from_json(state.to_json(), "state.json")


def test_reading_needs_no_writing(two):
    for fault in ("read-only from a call on", "disk full from a write on"):
        with Shim(FAULTS[fault], 1) as shim:
            identity, lease = two.reader(NAME)
            Bundle.open(two.folder(identity)).verify()
            assert check(two).damage == ()
            lease.release()
        assert not shim.happened


def test_names_are_kept_apart(store, bundles, quick_path):
    install(store, bundles[1])
    other = Bundle.open(write_release(quick_path / "other", 5, "other"))
    store.install(other, lambda bundle: "unsigned")
    store.prove("other", passes)
    assert set(store.state().slots) == {"tiny", "other"}
    assert seen(store)[:2] == (1, 0)
    with pytest.raises(UsageError, match="is not installed") as refused:
        store.slot("tinny")
    assert "tiny" in refused.value.hint


def test_an_install_is_refused_where_no_store_can_be(bundles, quick_path):
    (quick_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        install(Store(quick_path / "file" / "store"), bundles[1])
    with pytest.raises(OutputError):
        install(Store(quick_path / "file"), bundles[1])


def test_a_store_reached_through_a_link_is_the_same_store(two, quick_path, bundles):
    (quick_path / "link").symlink_to(two.root)
    linked = Store(quick_path / "link")
    install(linked, bundles[3])
    assert seen(two) == seen(linked)
    assert seen(two)[0] == 3


def test_a_link_in_the_place_of_the_state_is_not_followed(two, quick_path):
    path = two.root / "state.json"
    path.rename(quick_path / "elsewhere")
    path.symlink_to(quick_path / "elsewhere")
    before = (quick_path / "elsewhere").read_bytes()
    assert "state.json" in check(two).damage[0]  # read from the copy
    repair(two)
    assert not path.is_symlink()
    assert (quick_path / "elsewhere").read_bytes() == before


def test_generations_count_commits_and_nothing_is_written_for_nothing(two, bundles):
    before = two.state().generation
    install(two, bundles[2])  # it is active already
    assert two.state().generation == before
    two.roll_back(NAME)
    assert two.state().generation == before + 1
    assert dataclasses.replace(two.state(), generation=0) != two.state()
