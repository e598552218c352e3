"""Publishing: the destination is wholly the old bundle, wholly the new one, or absent, and no draft is left."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from edgekit.bundle import writing
from edgekit.bundle.folder import list_files
from edgekit.bundle.writing import check_destination, draft_folder, publish, write_manifests
from edgekit.errors import IntegrityError, OutputError, ParityError

from .tiny_bundle import CONTENT, fill, tiny_manifest, write_tiny_bundle

OLD = {**CONTENT, "evidence/old.json": b"{}"}


def build(destination, *, replace=False, meanwhile=lambda: None):
    with draft_folder(destination) as draft:
        fill(draft)
        meanwhile()
        write_manifests(draft, tiny_manifest())
        return publish(draft, destination, replace=replace)


def failing(monkeypatch, owner, name, at, code=errno.ENOSPC):
    """Make the ``at``-th call of ``owner.name`` (from 0) and all later ones fail, as a full disk does."""
    real = getattr(owner, name)
    calls = []

    def call(*args, **options):
        calls.append(args)
        if len(calls) > at:
            raise OSError(code, os.strerror(code))
        return real(*args, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_publishes_a_whole_bundle_and_leaves_nothing_else(tmp_path):
    bundle = build(tmp_path / "new" / "parents" / "bundle")
    bundle.verify()
    assert bundle.root == tmp_path / "new/parents/bundle"
    assert [path.name for path in bundle.root.parent.iterdir()] == ["bundle"]
    assert bundle.root.stat().st_mode & 0o777 == 0o755


def test_a_relative_destination_is_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build(Path("bundle")).root == tmp_path / "bundle"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_replaces_a_bundle_when_asked(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", OLD)
    build(tmp_path / "bundle", replace=True).verify()
    assert set(list_files(tmp_path / "bundle")) == {*CONTENT, "manifest.json", "edgekit.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_does_not_replace_a_bundle_unasked(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", OLD)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match="bundle: exists") as caught:
        build(tmp_path / "bundle")
    assert "replaced" in caught.value.hint
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["file", "folder", "folder with files", "bundle with own notes", "link to a bundle"])
def test_never_replaces_what_is_no_sound_bundle(tmp_path, kind):
    place = tmp_path / "bundle"
    if kind == "file":
        place.write_bytes(b"mine")
    elif kind == "link to a bundle":
        write_tiny_bundle(tmp_path / "real")
        place.symlink_to("real")
    elif kind == "bundle with own notes":
        write_tiny_bundle(place)
        (place / "notes.txt").write_bytes(b"mine")
    else:
        place.mkdir()
        if kind == "folder with files":
            (place / "notes.txt").write_bytes(b"mine")
    before = snapshot(tmp_path)
    for call in (lambda: check_destination(place, replace=True), lambda: build(place, replace=True)):
        with pytest.raises(OutputError, match="bundle: exists and is") as caught:
            call()
        assert caught.value.hint
    assert snapshot(tmp_path) == before
    assert place.is_symlink() == (kind == "link to a bundle")


def test_a_free_destination_passes_the_early_check(tmp_path):
    check_destination(tmp_path / "bundle")
    check_destination(tmp_path / "no" / "bundle", replace=True)


def test_an_unsealed_or_damaged_draft_is_not_published(tmp_path):
    with draft_folder(tmp_path / "bundle") as draft:
        fill(draft)
        with pytest.raises(IntegrityError, match=r"has no edgekit\.json"):
            publish(draft, tmp_path / "bundle")
        write_manifests(draft, tiny_manifest())
        (draft / "more").touch()
        with pytest.raises(IntegrityError, match="is not listed"):
            publish(draft, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [ParityError("x"), KeyboardInterrupt(), SystemExit(3), OSError(errno.EIO, "x")])
def test_any_exit_removes_the_draft_and_keeps_its_reason(tmp_path, failure):
    def fail():
        raise failure

    with pytest.raises(type(failure)) as caught:
        build(tmp_path / "bundle", meanwhile=fail)
    assert caught.value is failure
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_met_by_anyone_in_the_block_is_an_output_error(tmp_path, code):
    with pytest.raises(OutputError, match=os.strerror(code)) as caught, draft_folder(tmp_path / "bundle"):
        raise OSError(code, os.strerror(code))
    assert caught.value.hint
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())


def test_a_draft_that_cannot_be_removed_does_not_hide_the_failure(tmp_path, monkeypatch):
    failing(monkeypatch, writing.shutil, "rmtree", 0, errno.EACCES)
    with pytest.raises(ParityError) as caught, draft_folder(tmp_path / "bundle"):
        raise ParityError("x")
    assert "cannot be removed" in caught.value.__notes__[0]
    with (
        pytest.raises(OutputError, match="cannot be removed"),
        draft_folder(tmp_path / "bundle"),
    ):
        pass


def test_a_parent_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="no folder can be made"), draft_folder(tmp_path / "file" / "bundle"):
        pass


# A tiny bundle has 6 files (2 of them written here) in 7 folders; the destination's parent is synced too.
STEPS = {
    "open": (Path, "open", 2 + 6),
    "unlink": (Path, "unlink", 2),
    "chmod": (Path, "chmod", 13),
    "fsync": (os, "fsync", 14),
    "rename": (Path, "rename", 1),
}
FAULTS = [(step, at, code) for step in STEPS for at in range(STEPS[step][2]) for code in (errno.ENOSPC, errno.EIO)]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_at_any_step_leaves_the_old_state(tmp_path, monkeypatch, fault, replace):
    step, at, code = fault
    if replace:
        write_tiny_bundle(tmp_path / "bundle", OLD)
    before = snapshot(tmp_path)
    owner, name, _ = STEPS[step]
    with monkeypatch.context() as patched, pytest.raises(OutputError) as caught:
        build(tmp_path / "bundle", replace=replace, meanwhile=lambda: failing(patched, owner, name, at, code))
    assert os.strerror(code) in caught.value.message
    assert caught.value.hint
    assert snapshot(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"] * replace
    build(tmp_path / "bundle", replace=replace).verify()  # a retry succeeds


@pytest.mark.parametrize("step", STEPS)
def test_the_faults_above_cover_every_call(tmp_path, monkeypatch, step):
    owner, name, count = STEPS[step]
    calls = []
    build(tmp_path / "bundle", meanwhile=lambda: calls.append(failing(monkeypatch, owner, name, count)))
    assert len(calls[0]) == count


@pytest.mark.parametrize("replace", [False, True])
def test_a_fault_in_the_last_sync_puts_the_old_state_back(tmp_path, monkeypatch, replace):
    if replace:
        write_tiny_bundle(tmp_path / "bundle", OLD)
    before = snapshot(tmp_path)
    real = os.fsync

    def sync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OutputError, match="cannot be moved there: Input/output error"):
        build(tmp_path / "bundle", replace=replace)
    assert snapshot(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"] * replace


def test_a_failed_second_rename_puts_the_old_bundle_back(tmp_path, monkeypatch):
    write_tiny_bundle(tmp_path / "bundle", OLD)
    before = snapshot(tmp_path)
    real = Path.rename

    def rename(self, target):
        if ".draft-" in self.name:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputError, match="cannot be moved there") as caught:
        build(tmp_path / "bundle", replace=True)
    assert "draft_folder" in caught.value.hint
    assert snapshot(tmp_path) == before


def test_an_old_bundle_that_cannot_be_put_back_is_named_and_whole(tmp_path, monkeypatch):
    write_tiny_bundle(tmp_path / "bundle", OLD)
    before = snapshot(tmp_path / "bundle")
    with monkeypatch.context() as patched:
        failing(patched, Path, "rename", 1, errno.EIO)
        with pytest.raises(OutputError, match="putting the old bundle back failed too") as caught:
            build(tmp_path / "bundle", replace=True)
    (aside,) = tmp_path.iterdir()
    assert str(aside) in caught.value.hint
    assert snapshot(aside) == before


def test_everything_is_synced_before_the_rename(tmp_path, monkeypatch):
    events = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        real_sync(descriptor)

    def rename(self, target):
        events.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    with draft_folder(tmp_path / "bundle") as draft:
        fill(draft)
        write_manifests(draft, tiny_manifest())
        expected = {draft, *draft.rglob("*")}
        publish(draft, tmp_path / "bundle")
    assert set(events[: events.index("rename")]) == expected
    assert events[events.index("rename") :] == ["rename", tmp_path]


def test_a_destination_made_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    def appears(*_args, **_options):
        shutil.copytree(tmp_path / "other", tmp_path / "bundle")

    write_tiny_bundle(tmp_path / "other", OLD)
    before = snapshot(tmp_path / "other")
    monkeypatch.setattr(writing, "_sync", appears)
    with pytest.raises(OutputError):
        build(tmp_path / "bundle")
    assert snapshot(tmp_path / "bundle") == before
