"""``edgekit pack`` and ``edgekit unpack`` say what they made, and refuse with the right exit code."""

import json

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.cli import main

from .tiny_bundle import write_tiny_bundle


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_goes_into_a_file_and_back(root, tmp_path, capsys):
    assert main(["pack", "bundle", "-o", "one.edgekit", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    digest = Bundle.open(root).manifest_sha256
    assert made == {
        "file": "one.edgekit",
        "size_bytes": (tmp_path / "one.edgekit").stat().st_size,
        "manifest_sha256": digest,
    }
    assert main(["unpack", "one.edgekit", "-o", "back"]) == 0
    assert capsys.readouterr().out == "back: 5 files, every digest matches\n"
    assert Bundle.open("back").manifest_sha256 == digest


def test_without_a_name_the_file_stands_beside_the_bundle(root, tmp_path, capsys):
    assert main(["pack", "bundle"]) == 0
    assert (tmp_path / "bundle.edgekit").is_file()
    assert "5 files, every digest matches" in " ".join(capsys.readouterr().out.split())  # a long path folds the line


def test_exit_codes(root, tmp_path, capsys):
    (tmp_path / "noise").write_bytes(b"noise")
    assert main(["unpack", "noise", "-o", "out"]) == 7
    assert "does not start with edgekit.json" in capsys.readouterr().err
    assert main(["pack", "bundle", "-o", "noise"]) == 3
    assert main(["pack", "bundle", "-o", "noise", "--replace"]) == 3
    assert (tmp_path / "noise").read_bytes() == b"noise"
    (root / "manifest.json").write_bytes((root / "manifest.json").read_bytes().replace(b"tiny", b"tony"))
    assert main(["pack", "bundle", "-o", "damaged"]) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "noise"]
