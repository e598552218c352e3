"""Sealing a draft: deterministic bytes and modes, and nothing sealed that would not open."""

import os
import shutil

import pytest

from edgekit.bundle.folder import list_files
from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import write_manifests
from edgekit.errors import IntegrityError

from .tiny_bundle import CONTENT, fill, tiny_manifest, write_tiny_bundle

MODEL = "model/int8/model.onnx"


def test_two_bundles_of_the_same_content_are_identical(tmp_path):
    trees = []
    for name, mask, content in (("a", 0o077, CONTENT), ("b", 0o002, dict(reversed(CONTENT.items())))):
        before = os.umask(mask)
        try:
            write_tiny_bundle(tmp_path / name, content)
        finally:
            os.umask(before)
        files = {path: (tmp_path / name / path).read_bytes() for path in list_files(tmp_path / name)}
        modes = {str(p.relative_to(tmp_path / name)): p.stat().st_mode for p in (tmp_path / name).rglob("*")}
        modes["."] = (tmp_path / name).stat().st_mode
        trees.append((files, modes))
    assert trees[0] == trees[1]
    assert {mode & 0o777 for mode in trees[0][1].values()} == {0o644, 0o755}


def test_writing_again_changes_nothing(tmp_path):
    root = tmp_path / "bundle"
    write_tiny_bundle(root)
    before = {path: (root / path).read_bytes() for path in list_files(root)}
    written = write_manifests(root, tiny_manifest())
    assert {path: (root / path).read_bytes() for path in list_files(root)} == before
    assert Bundle.open(root).manifest == written


def test_a_draft_with_a_link_is_not_sealed_and_nothing_is_written_through_it(tmp_path):
    (tmp_path / "draft").mkdir()
    fill(tmp_path / "draft")
    (tmp_path / "mine").write_bytes(b"keep")
    (tmp_path / "draft/manifest.json").symlink_to(tmp_path / "mine")
    with pytest.raises(IntegrityError, match="is a link"):
        write_manifests(tmp_path / "draft", tiny_manifest())
    assert (tmp_path / "mine").read_bytes() == b"keep"
    assert not (tmp_path / "draft/edgekit.json").exists()


def test_a_draft_with_a_bad_path_or_without_a_named_file_is_not_sealed(tmp_path):
    (tmp_path / "draft").mkdir()
    fill(tmp_path / "draft", {**CONTENT, "evidence/nul.json": b"{}"})
    with pytest.raises(IntegrityError, match=r"nul\.json"):
        write_manifests(tmp_path / "draft", tiny_manifest())
    shutil.rmtree(tmp_path / "draft/evidence")
    (tmp_path / MODEL).parent.mkdir(parents=True)
    (tmp_path / "draft" / MODEL).rename(tmp_path / MODEL)
    (tmp_path / "draft/model/int8").rmdir()
    with pytest.raises(IntegrityError, match=f"names '{MODEL}', which is not in files"):
        write_manifests(tmp_path / "draft", tiny_manifest())
    assert not (tmp_path / "draft/edgekit.json").exists()
