"""A bundle is, byte for byte, what its manifest lists, or it is refused."""

import dataclasses
import hashlib
import os
import shutil
import socket
from pathlib import Path

import pytest

from edgekit.bundle.folder import list_files
from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError, IntegrityError
from edgekit.spec.checksum import seal
from edgekit.spec.manifest import FileEntry

from .tiny_bundle import CONTENT, write_tiny_bundle

MODEL = "model/int8/model.onnx"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "bundle"
    write_tiny_bundle(folder)
    return folder


def refused(root, *about):
    """That the bundle is refused, as someone who opens and verifies it would see; the error's message."""
    with pytest.raises(IntegrityError) as caught:
        Bundle.open(root).verify()
    for word in about:
        assert word in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_opens_verifies_and_reads(root):
    bundle = Bundle.open(str(root))
    bundle.verify()
    assert bundle.root == root
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest_sha256 == hashlib.sha256((root / "edgekit.json").read_bytes()).hexdigest()
    assert {entry.path for entry in bundle.manifest.files} == {*CONTENT, "manifest.json"}
    for path, data in CONTENT.items():
        assert bundle.read(path) == data


def test_a_flipped_bit_in_any_byte_of_any_file_is_refused(root):
    bundle = Bundle.open(root)
    for path in list_files(root):
        data = (root / path).read_bytes()
        for position in range(len(data)):
            flipped = bytearray(data)
            flipped[position] ^= 1 << position % 8
            (root / path).write_bytes(flipped)
            with pytest.raises(IntegrityError):
                bundle.verify()
            if path == "edgekit.json":  # an earlier opened bundle tells by the digest it noted
                with pytest.raises(IntegrityError):
                    Bundle.open(root)
        (root / path).write_bytes(data)
    Bundle.open(root).verify()


def test_a_file_added_after_opening_is_refused_by_verify(root):
    bundle = Bundle.open(root)
    (root / "extra").touch()
    with pytest.raises(IntegrityError, match="'extra': is not listed"):
        bundle.verify()


def test_read_refuses_a_flipped_bit(root):
    (root / MODEL).write_bytes(b"int8 graqh")
    bundle = Bundle.open(root)
    with pytest.raises(IntegrityError, match=f"{MODEL}: sha256 is "):
        bundle.read(MODEL)


@pytest.mark.parametrize(
    "name", ["extra.txt", "model/int8/model.onnx.data", ".DS_Store", "new/file", "edgekit.json.bak"]
)
def test_an_added_file_is_refused(root, name):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"")
    refused(root, name, "is not listed")


def test_an_added_file_whose_name_is_no_text_is_refused(root):
    (root / os.fsdecode(b"\xff")).touch()
    refused(root, r"\udcff", "is not listed")


@pytest.mark.parametrize("name", [*CONTENT, "manifest.json"])
def test_a_removed_file_is_refused(root, name):
    (root / name).unlink()
    refused(root)


def test_a_removed_file_is_named(root):
    (root / MODEL).rename(root / "model/int8/renamed.onnx")
    refused(root, "model/int8/renamed.onnx", "is not listed")
    (root / "model/int8/renamed.onnx").unlink()
    (root / "model/int8").rmdir()
    refused(root, MODEL, "missing")


def test_a_grown_or_cut_file_is_refused_at_open(root):
    for data in (b"int8 graph.", b"int8 grap", b""):
        (root / MODEL).write_bytes(data)
        with pytest.raises(IntegrityError, match=f"{MODEL}: has {len(data)} bytes, listed are 10"):
            Bundle.open(root)


def test_swapped_files_are_refused(root):
    one, other = root / MODEL, root / "model/safe/model.onnx"
    one.rename(root / "x")
    other.rename(one)
    (root / "x").rename(other)
    refused(root, "sha256")


def test_an_empty_folder_is_refused(root):
    (root / "evidence").mkdir()
    refused(root, "'evidence/'", "empty folder")


def test_a_folder_in_a_files_place_is_refused(root):
    (root / MODEL).unlink()
    (root / MODEL).mkdir()
    (root / MODEL / "x").write_bytes(b"")
    refused(root, f"{MODEL}/x")


@pytest.mark.parametrize("target", ["outside", "safe/model.onnx", "nowhere"])
def test_a_link_in_a_files_place_is_refused_even_to_the_same_content(root, target):
    (root.parent / "outside").write_bytes(b"int8 graph")
    (root / MODEL).unlink()
    (root / MODEL).symlink_to(root.parent / "outside" if target == "outside" else Path("..") / target)
    refused(root, MODEL, "is a link")


def test_a_linked_folder_is_refused(root):
    (root / "model/int8").rename(root.parent / "int8")
    (root / "model/int8").symlink_to(root.parent / "int8", target_is_directory=True)
    refused(root, "'model/int8'", "is a link")


def test_a_linked_manifest_is_refused(root):
    (root / "edgekit.json").rename(root.parent / "edgekit.json")
    (root / "edgekit.json").symlink_to(root.parent / "edgekit.json")
    refused(root, "edgekit.json")


def test_a_pipe_or_socket_is_refused_without_waiting(root, monkeypatch):
    (root / MODEL).unlink()
    os.mkfifo(root / MODEL)
    refused(root, MODEL, "neither file nor folder")
    (root / MODEL).unlink()
    monkeypatch.chdir((root / MODEL).parent)  # a socket's path may hold a hundred characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind((root / MODEL).name)
        refused(root, MODEL, "neither file nor folder")


def test_a_pipe_as_manifest_is_refused_without_waiting(root):
    (root / "edgekit.json").unlink()
    os.mkfifo(root / "edgekit.json")
    refused(root, "edgekit.json", "not a regular file")


def test_the_bundle_itself_may_be_reached_through_a_link(root, tmp_path):
    (tmp_path / "current").symlink_to(root, target_is_directory=True)
    bundle = Bundle.open(tmp_path / "current")
    (tmp_path / "current").unlink()  # what was opened stays opened
    bundle.verify()


def test_too_deep_and_too_many_are_refused_without_walking_everything(root):
    deep = root / "1/2/3/4/5/6/7/8"
    deep.mkdir(parents=True)
    refused(root, "deeper than 8")
    shutil.rmtree(root / "1")
    for number in range(4100):
        (root / f"{number}").touch()
    refused(root, "4096")


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("", "has no edgekit.json"),
        ("none", "does not exist"),
        ("file", "is no packed bundle: it is empty"),
        ("a\0b", "cannot be opened"),
    ],
)
def test_what_is_no_bundle_says_so(tmp_path, name, about):
    (tmp_path / "file").touch()
    with pytest.raises(IntegrityError) as caught:
        Bundle.open(tmp_path / name)
    assert about in caught.value.message
    assert caught.value.hint.startswith("a bundle is a folder with edgekit.json, or one file")


def test_a_loop_of_links_says_so(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(IntegrityError):
        Bundle.open(tmp_path / "loop")


def test_a_huge_manifest_is_not_read_to_its_end(root):
    with (root / "edgekit.json").open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse
    refused(root, "edgekit.json: is over the limit")


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "a/../b", "EDGEKIT.JSON", "edgekit.json", "model/INT8/x"]
)
def test_a_manifest_that_lists_a_bad_path_is_refused(root, path):
    manifest = Bundle.open(root).manifest
    entry = FileEntry(path=path, size=0, sha256=hashlib.sha256(b"").hexdigest())
    changed = dataclasses.replace(manifest, files=(*manifest.files, entry))
    (root / "edgekit.json").write_bytes(changed.to_json())
    refused(root, "path ")


def test_read_takes_listed_paths_only(root):
    bundle = Bundle.open(root)
    for path in ("edgekit.json", "none", "../bundle/manifest.json", "model/../manifest.json", "/etc/passwd"):
        with pytest.raises(IntegrityError, match="is not listed"):
            bundle.read(path)


CHANGES = {
    "other content": lambda path: path.write_bytes(b"INT8 graph"),
    "longer": lambda path: path.write_bytes(b"int8 graph, and more"),
    "shorter": lambda path: path.write_bytes(b"int8"),
    "gone": lambda path: path.unlink(),
    "folder gone": lambda path: shutil.rmtree(path.parent),
    "bundle gone": lambda path: shutil.rmtree(path.parents[2]),
    "a link": lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
    "its folder a link": lambda path: (
        path.parent.rename(path.parents[3] / "moved"),
        path.parent.symlink_to(path.parents[3] / "moved"),
    ),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "its folder a file": lambda path: (shutil.rmtree(path.parent), path.parent.touch()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_changed_after_opening_is_refused(root, change):
    bundle = Bundle.open(root)
    CHANGES[change](root / MODEL)
    with pytest.raises(IntegrityError, match=MODEL):
        bundle.read(MODEL)
    with pytest.raises(IntegrityError):
        bundle.verify()


def test_a_manifest_exchanged_after_opening_is_refused_by_verify(root):
    bundle = Bundle.open(root)
    changed = dataclasses.replace(bundle.manifest, release=8)
    (root / "edgekit.json").write_bytes(changed.to_json())
    Bundle.open(root).verify()  # whole in itself, but not what was opened
    with pytest.raises(IntegrityError, match="changed since"):
        bundle.verify()


def test_what_was_read_does_not_change_with_the_file(root):
    content = Bundle.open(root).read(MODEL)
    (root / MODEL).write_bytes(b"INT8 GRAPH")
    assert content == b"int8 graph"


def test_read_gives_aligned_writable_memory_of_a_large_file_in_one_piece(tmp_path):
    import numpy as np

    data = np.random.default_rng(0).bytes((3 << 20) + 5)
    write_tiny_bundle(tmp_path / "bundle", {**CONTENT, MODEL: data})
    content = Bundle.open(tmp_path / "bundle").read(MODEL)
    assert content == data
    array = np.frombuffer(content, np.uint8)
    assert array.ctypes.data % 64 == 0
    assert array.flags.writeable
    del content
    assert array.tobytes() == data  # the view keeps the memory


def test_an_empty_file_is_read_as_empty(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", {**CONTENT, "evidence/empty": b""})
    bundle = Bundle.open(tmp_path / "bundle")
    bundle.verify()
    assert bundle.read("evidence/empty") == b""


def test_progress_counts_every_byte(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", {**CONTENT, "large": bytes(5 << 20)})
    bundle = Bundle.open(tmp_path / "bundle")
    steps = []
    bundle.verify(lambda done, total: steps.append((done, total)))
    total = sum(entry.size for entry in bundle.manifest.files)
    assert steps[-1] == (total, total)
    assert {step[1] for step in steps} == {total}
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert max(after - before for before, after in zip([0, *done], done, strict=False)) <= 1 << 20


def test_a_read_error_is_typed(root, monkeypatch):
    bundle = Bundle.open(root)
    monkeypatch.setattr("edgekit.bundle.folder.FileIO", BrokenFile)
    with pytest.raises(IntegrityError, match=f"{MODEL}: cannot be read: Input/output error") as caught:
        bundle.read(MODEL)
    assert "disk" in caught.value.hint
    with pytest.raises(IntegrityError, match="cannot be read"):
        bundle.verify()


class BrokenFile:
    """A file on a failing disk."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)

    def read(self, _):
        raise OSError(5, "Input/output error")

    readinto = read


def test_no_descriptor_is_left_open(root):
    def count():
        return len(list(Path("/dev/fd").iterdir()))

    before = count()
    bundle = Bundle.open(root)
    bundle.verify()
    kept = bundle.read(MODEL)
    (root / MODEL).unlink()
    os.mkfifo(root / MODEL)
    for _ in range(3):
        with pytest.raises(IntegrityError):
            bundle.read(MODEL)
    assert count() == before
    assert kept == b"int8 graph"


def test_a_file_that_fits_no_memory_is_a_host_error(root, monkeypatch):
    def no_memory(*_args, **_options):
        raise OSError(12, "Cannot allocate memory")

    bundle = Bundle.open(root)
    monkeypatch.setattr("edgekit.bundle.reading.mmap.mmap", no_memory)
    with pytest.raises(HostError, match=f"{MODEL}: no memory for its 10 bytes"):
        bundle.read(MODEL)


def test_systems_without_descriptors_of_folders_refuse_links_too(root, monkeypatch):
    monkeypatch.setattr("edgekit.bundle.folder._CAN_STEP", False)
    bundle = Bundle.open(root)
    bundle.verify()
    (root / "model/int8").rename(root.parent / "int8")
    (root / "model/int8").symlink_to(root.parent / "int8")
    with pytest.raises(IntegrityError, match="link"):
        bundle.read(MODEL)


def test_sealing_again_after_an_edit_is_possible_and_changes_the_digest(root):
    # The checksum finds accidents; who may write the folder can make another sound bundle of it.
    before = Bundle.open(root).manifest_sha256
    edited = (root / "edgekit.json").read_bytes().replace(b'"release": 7', b'"release": 8')
    (root / "edgekit.json").write_bytes(edited)
    refused(root, "checksum")
    (root / "edgekit.json").write_bytes(seal(edited, "edgekit.json"))
    assert Bundle.open(root).manifest_sha256 != before
