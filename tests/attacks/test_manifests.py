"""No bad manifest and no bad path gets anything read or written; each ends in one typed error."""

import random
import shutil

import pytest

from edgekit.bundle.packed import member_header, padding

from ..unit.tiny_model import write_tiny_model  # noqa: TID252 - tests are no installed package
from .manifests import bad_manifests
from .packed_files import contents, joined
from .sandbox import hold, outcomes

SAMPLE = 60
# What is sound, but not for this host or this edgekit, or whose answer only a load can give.
KINDS = ("IntegrityError", "HostError")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("good") / "bundle")


def written(manifests, good, scratch):
    """Each bad manifest in a folder of the good files, every third in a packed file too."""
    parts = contents(good)
    parts.pop("edgekit.json")
    for number, data in enumerate(manifests):
        folder = scratch / f"{number:04}"
        shutil.copytree(good, folder)
        (folder / "edgekit.json").write_bytes(data)
        yield folder
        if number % 3 == 0:
            start = member_header("edgekit.json", len(data)) + data + padding(len(data))
            packed = scratch / f"{number:04}.edgekit"
            packed.write_bytes(start + joined(parts.items()))
            yield packed


def test_bad_manifests_are_refused(good, tmp_path):
    bad = list(bad_manifests((good / "edgekit.json").read_bytes()).values())
    chosen = random.Random(11).sample(bad, SAMPLE)  # noqa: S311
    hold(list(written(chosen, good, tmp_path)), tmp_path, errors=KINDS, exit_codes=(7, 8), unread=("accepted",))


@pytest.mark.long
def test_every_bad_manifest_is_refused(good, tmp_path):
    bad = list(bad_manifests((good / "edgekit.json").read_bytes()).values())
    assert len(bad) > 300
    hold(list(written(bad, good, tmp_path)), tmp_path, errors=KINDS, exit_codes=(7, 8), unread=("accepted",))


def test_the_bundle_they_are_made_from_is_taken(tmp_path):
    (found,) = outcomes([write_tiny_model(tmp_path / "bundle")], tmp_path).values()
    assert (found["verify"], found["load"], found["exit_code"]) == ("accepted", "accepted", 0)
