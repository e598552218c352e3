"""One file is the bundle: for edgekit, and for every program that reads tar."""

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile  # noqa: TID251 - another reader than ours is the point

import pytest

from edgekit.bundle.folder import list_files
from edgekit.bundle.packed import BLOCK, PackedFiles, member_header
from edgekit.bundle.packing import pack, unpack
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError, OutputError
from edgekit.runtime import load

from .tiny_bundle import CONTENT, write_tiny_bundle
from .tiny_model import expected, write_tiny_model

AWKWARD = {
    **CONTENT,
    "evidence/empty": b"",
    "evidence/block": bytes(BLOCK),
    "naïve/Größe.json": b"{}",
    "a" * 101: b"longer than a name field",
    f"{'b' * 150}/{'c' * 100}": b"fits prefix and name",
    f"{'d' * 170}/{'e' * 101}": b"fits neither",
    "/".join("f" * 60 for _ in range(8)): b"deep and long",
}


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


@pytest.fixture
def root(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", AWKWARD)
    return tmp_path / "bundle"


@pytest.fixture
def packed(root, tmp_path):
    return pack(Bundle.open(root), tmp_path / "made" / "one.edgekit")


def test_a_packed_bundle_opens_verifies_and_reads_as_its_folder_does(root, packed):
    folder, file = Bundle.open(root), Bundle.open(packed)
    file.verify()
    assert file.root == packed
    assert file.manifest == folder.manifest
    assert file.manifest_sha256 == folder.manifest_sha256
    for path, data in AWKWARD.items():
        assert file.read(path) == data
        assert b"".join(file.stream(path)) == data


def test_unpacking_gives_the_folder_back(root, packed, tmp_path):
    mask = os.umask(0o077)
    try:
        opened = unpack(Bundle.open(packed), tmp_path / "unpacked")
    finally:
        os.umask(mask)
    assert opened.root == tmp_path / "unpacked"
    assert files_of(tmp_path / "unpacked") == files_of(root)
    assert {oct(path.stat().st_mode & 0o777) for path in opened.root.rglob("*") if path.is_file()} == {"0o644"}


def test_the_same_bundle_gives_the_same_bytes(root, packed, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    again = pack(Bundle.open(tmp_path / "copy"), tmp_path / "again")
    repacked = pack(Bundle.open(packed), tmp_path / "repacked")
    assert again.read_bytes() == repacked.read_bytes() == packed.read_bytes()
    assert packed.stat().st_mode & 0o777 == 0o644


def test_the_bytes_of_a_packed_file_never_change(tmp_path):
    write_tiny_bundle(tmp_path / "bundle")
    data = pack(Bundle.open(tmp_path / "bundle"), tmp_path / "packed").read_bytes()
    headers = hashlib.sha256(b"".join(member_header(path, len(text)) for path, text in AWKWARD.items())).hexdigest()
    assert data.startswith(b"edgekit.json" + bytes(88) + b"0000644\0" + b"0000000\0" * 2)
    assert data.endswith(bytes(1024))
    assert headers == "f4d025dfef72b5124763edea6c1df44be79429d41e16d8f15f40b33b2a1527e6"


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_tar_lists_and_extracts_the_bundle(root, packed, tmp_path):
    (tmp_path / "out").mkdir()
    listed = subprocess.run(["tar", "-tf", packed], capture_output=True, check=True)
    done = subprocess.run(["tar", "-xf", packed, "-C", tmp_path / "out"], capture_output=True, check=True)
    assert done.stderr == listed.stderr == b""
    assert listed.stdout.startswith(b"edgekit.json\n")
    assert files_of(tmp_path / "out") == files_of(root)


@pytest.mark.skipif(shutil.which("bsdtar") is None, reason="needs bsdtar")
def test_bsdtar_extracts_the_bundle(root, packed, tmp_path):
    (tmp_path / "out").mkdir()
    subprocess.run(["bsdtar", "-xf", packed, "-C", tmp_path / "out"], check=True, env={"LC_ALL": "C.UTF-8"})
    assert files_of(tmp_path / "out") == files_of(root)


def test_pythons_tarfile_reads_the_bundle(root, packed):
    with tarfile.open(packed, "r:") as tar:
        members = tar.getmembers()
        read = {member.name: tar.extractfile(member).read() for member in members}
    assert read == files_of(root)
    assert list(read) == ["edgekit.json", *sorted(set(read) - {"edgekit.json"})]
    assert {(member.mode, member.uid, member.gid, member.mtime, member.uname, member.type) for member in members} == {
        (0o644, 0, 0, 0, "", tarfile.REGTYPE)
    }


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 1 << 42])
@pytest.mark.parametrize("path", ["model.onnx", "naïve", f"{'d' * 170}/{'e' * 101}"])
def test_a_header_says_path_and_size_to_other_programs(path, size):
    header = member_header(path, size)
    assert len(header) % BLOCK == 0
    found = tarfile.open(fileobj=io.BytesIO(header), mode="r:").firstmember  # noqa: SIM115
    assert (found.name, found.size, found.offset_data) == (path, size, len(header))


def test_contents_start_at_blocks_so_that_they_can_be_mapped(root, packed):
    files = PackedFiles(packed)
    files.check(len(files.manifest()), Bundle.open(root).manifest.files)
    data = packed.read_bytes()
    for path, (offset, size) in files._places.items():
        assert offset % BLOCK == 0
        assert data[offset : offset + size] == (root / path).read_bytes()


def test_the_runtime_loads_a_packed_bundle(tmp_path):
    import numpy as np

    write_tiny_model(tmp_path / "bundle")
    packed = pack(Bundle.open(tmp_path / "bundle"), tmp_path / "one.edgekit")
    with load(packed) as model:
        np.testing.assert_allclose(model.embed("word1 word2"), expected("word1 word2"), atol=1e-6)
        assert model.self_test().passed


def test_a_file_exchanged_after_opening_is_refused(root, packed, tmp_path):
    bundle = Bundle.open(packed)
    path = "model/int8/model.onnx"
    changed = packed.read_bytes().replace(b"int8 graph", b"INT8 graph")
    packed.write_bytes(changed)
    with pytest.raises(IntegrityError, match=f"{path}: sha256"):
        bundle.read(path)
    with pytest.raises(IntegrityError, match=f"{path}: sha256"):
        list(bundle.stream(path))
    packed.write_bytes(changed[:-BLOCK])
    with pytest.raises(IntegrityError, match="is cut"):
        bundle.verify()
    packed.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        bundle.read(path)


def test_what_was_read_does_not_change_with_the_file(packed):
    content = Bundle.open(packed).read("model/int8/model.onnx")
    packed.write_bytes(packed.read_bytes().replace(b"int8 graph", b"INT8 graph"))
    assert content == b"int8 graph"


@pytest.mark.parametrize("make", ["pack", "unpack"])
def test_a_damaged_bundle_leaves_nothing_behind(root, packed, tmp_path, make):
    out = tmp_path / "out"
    out.mkdir()
    if make == "pack":
        (root / "model/safe/model.onnx").write_bytes(b"SAFE graph")
        with pytest.raises(IntegrityError, match="sha256"):
            pack(Bundle.open(root), out / "file")
    else:
        packed.write_bytes(packed.read_bytes().replace(b"safe graph", b"SAFE graph"))
        with pytest.raises(IntegrityError, match="sha256"):
            unpack(Bundle.open(packed), out / "folder")
    assert list(out.iterdir()) == []


def test_what_is_there_is_not_overwritten_unasked(root, packed, tmp_path):
    before = packed.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        pack(Bundle.open(root), packed)
    (tmp_path / "notes").write_bytes(b"mine")
    with pytest.raises(OutputError, match="no packed bundle"):
        pack(Bundle.open(root), tmp_path / "notes", replace=True)
    with pytest.raises(OutputError, match="no regular file"):
        pack(Bundle.open(root), root, replace=True)
    (tmp_path / "link").symlink_to(packed)
    with pytest.raises(OutputError, match="no regular file"):
        pack(Bundle.open(root), tmp_path / "link", replace=True)
    with pytest.raises(OutputError, match="exists"):
        unpack(Bundle.open(packed), root)
    with pytest.raises(OutputError, match="is no folder"):
        unpack(Bundle.open(packed), packed, replace=True)
    assert pack(Bundle.open(root), packed, replace=True).read_bytes() == before
    assert unpack(Bundle.open(packed), root, replace=True).manifest_sha256 == Bundle.open(packed).manifest_sha256


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_does_not_take_it_is_an_output_error(root, tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    (tmp_path / "out").mkdir()
    monkeypatch.setattr("edgekit.bundle.packing.os.fsync", fail)
    with pytest.raises(OutputError, match="cannot be written"):
        pack(Bundle.open(root), tmp_path / "out" / "file")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs the resource module")
def test_packing_and_reading_need_little_memory(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", {**CONTENT, "large": bytes(96 << 20)})
    script = (
        "import resource, sys; from pathlib import Path; from edgekit.bundle.packing import pack, unpack; "
        "from edgekit.bundle.reading import Bundle; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "before = peak(); pack(Bundle.open(sys.argv[1]), Path(sys.argv[2])); bundle = Bundle.open(sys.argv[2]); "
        "bundle.verify(); unpack(bundle, Path(sys.argv[3])); print(peak() - before)"
    )
    paths = [tmp_path / name for name in ("bundle", "packed", "unpacked")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 16 << 20


def test_progress_counts_every_byte(root, tmp_path):
    steps = []
    packed = pack(Bundle.open(root), tmp_path / "packed", progress=lambda *step: steps.append(step))
    unpack(Bundle.open(packed), tmp_path / "unpacked", progress=lambda *step: steps.append(step))
    total = sum(entry.size for entry in Bundle.open(root).manifest.files)
    assert steps.count((total, total)) == 2
