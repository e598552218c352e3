"""Evidence is added to a sealed bundle whole or not at all, and blesses no damage."""

import os
import shutil

import pytest

from edgekit.bundle import resealing
from edgekit.bundle.reading import Bundle
from edgekit.bundle.resealing import add_evidence
from edgekit.errors import IntegrityError, OutputError, UsageError
from edgekit.runtime import load
from tests.unit.tiny_model import write_tiny_model

NAME = "evidence/portability.json"


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_model(tmp_path / "bundle")


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evidence_is_added_and_everything_else_stays(bundle):
    before = files(bundle)
    found = add_evidence(bundle, NAME, b'{"a": 1}\n')
    after = files(bundle)
    assert after.pop(NAME) == b'{"a": 1}\n'
    assert {path for path in before if before[path] != after[path]} == {"edgekit.json"}
    found.verify()
    assert load(bundle).self_test().passed
    assert all(path.stat().st_nlink == 1 for path in bundle.rglob("*") if path.is_file())
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_evidence_is_replaced_and_the_same_bytes_change_nothing(bundle):
    first = add_evidence(bundle, NAME, b'{"a": 1}\n')
    again = add_evidence(bundle, NAME, b'{"a": 1}\n')
    assert again.manifest_sha256 == first.manifest_sha256
    other = add_evidence(bundle, NAME, b'{"a": 2}\n')
    assert bytes(other.read(NAME)) == b'{"a": 2}\n'


def test_adding_evidence_depends_on_the_bundle_and_the_evidence_alone(bundle, tmp_path):
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(bundle, copy)
    assert add_evidence(bundle, NAME, b"{}\n").manifest_sha256 == add_evidence(copy, NAME, b"{}\n").manifest_sha256


def test_damage_is_not_blessed(bundle):
    weights = bundle / "model/plain/model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[10] ^= 1
    weights.write_bytes(data)
    before = files(bundle)
    with pytest.raises(IntegrityError, match=r"model\.onnx\.data: is not what edgekit\.json lists"):
        add_evidence(bundle, NAME, b"{}\n")
    assert files(bundle) == before


def test_a_full_disk_leaves_the_old_bundle(bundle, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resealing, "_write", full)
    before = files(bundle)
    with pytest.raises(OutputError, match="No space left"):
        add_evidence(bundle, NAME, b"{}\n")
    assert files(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_file_system_without_hard_links_gets_copies(bundle, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    add_evidence(bundle, NAME, b"{}\n").verify()


@pytest.mark.parametrize(
    "name", ["portability.json", "evidence/a/b.json", "evidence/../edgekit.json", "evidence/a.txt"]
)
def test_only_evidence_is_added(name, bundle):
    with pytest.raises(UsageError, match="evidence is a"):
        add_evidence(bundle, name, b"{}\n")


def test_a_read_only_folder_is_refused_with_the_way_out(bundle, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="read-only") as caught:
        resealing.check_resealable(bundle)
    assert "--evidence" in caught.value.hint


def test_a_packed_bundle_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "packed").write_bytes(b"one file")
    with pytest.raises(OutputError, match="is a file") as caught:
        resealing.check_resealable(tmp_path / "packed")
    assert "--evidence" in caught.value.hint


def test_a_bundle_behind_a_link_is_refused(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    with pytest.raises(OutputError, match="is a link"):
        add_evidence(tmp_path / "link", NAME, b"{}\n")


def test_a_signed_bundle_is_refused(bundle, monkeypatch):
    found = Bundle.open(bundle)
    (bundle / "model.sig").write_text("{}")  # a manifest cannot list what signs it
    monkeypatch.setattr(Bundle, "open", classmethod(lambda cls, path: found))
    with pytest.raises(OutputError, match=r"is signed \(model\.sig\)"):
        add_evidence(bundle, NAME, b"{}\n")
