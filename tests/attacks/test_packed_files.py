"""No bad packed file is opened, verified, loaded or unpacked; each ends in one typed error."""

import os
import random

import pytest

from edgekit.bundle.packing import unpack
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError

from ..unit.tiny_bundle import write_tiny_bundle  # noqa: TID252 - tests are no installed package
from ..unit.tiny_model import write_tiny_model  # noqa: TID252
from .packed_files import bad_packed_files, packed_bytes
from .sandbox import hold, outcomes

SAMPLE = 60


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("packed")
    folder = write_tiny_model(scratch / "bundle")
    paths = {}
    for number, (name, data) in enumerate(bad_packed_files(folder, scratch).items()):
        paths[name] = scratch / f"{number:04}.edgekit"
        paths[name].write_bytes(data)
    return paths


def test_bad_packed_files_are_refused(bad, tmp_path):
    chosen = random.Random(5).sample(sorted(bad), SAMPLE)  # noqa: S311
    hold([bad[name] for name in chosen], tmp_path)


@pytest.mark.long
def test_every_bad_packed_file_is_refused(bad, tmp_path):
    assert len(bad) > 250
    hold(list(bad.values()), tmp_path)


def test_nothing_is_left_of_unpacking_a_bad_packed_file(bad, tmp_path):
    for path in bad.values():
        with pytest.raises(IntegrityError):
            unpack(Bundle.open(path), tmp_path / "unpacked")
    assert list(tmp_path.iterdir()) == []


def test_the_good_one_is_taken(tmp_path):
    folder = write_tiny_model(tmp_path / "bundle")
    (tmp_path / "good").write_bytes(packed_bytes(folder, tmp_path))
    (found,) = outcomes([tmp_path / "good"], tmp_path).values()
    assert (found["verify"], found["load"], found["exit_code"]) == ("accepted", "accepted", 0)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    hold([tmp_path / name for name in ("pipe", "loop", "nowhere", "device", "folder", "sparse")], tmp_path)


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.long)])
def test_a_flip_of_any_byte_is_refused(tmp_path, step):
    write_tiny_bundle(tmp_path / "bundle")
    good = packed_bytes(tmp_path / "bundle", tmp_path)
    file = tmp_path / "flipped.edgekit"
    file.write_bytes(good)
    opened = Bundle.open(file)
    opened.verify()
    noise = random.Random(3)  # noqa: S311
    for position in range(noise.randrange(step), len(good), step):
        flipped = bytearray(good)
        flipped[position] ^= noise.randrange(1, 256)
        file.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            opened.verify()
        with pytest.raises(IntegrityError):
            Bundle.open(file).verify()
