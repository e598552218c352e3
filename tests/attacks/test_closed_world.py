"""What is done with a bundle reads the bundle and nothing else: no code, no writing, no network, no other program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle

from ..unit.tiny_model import write_tiny_model  # noqa: TID252 - tests are no installed package
from .sandbox import REPOSITORY

WATCHED = Path(__file__).with_name("watched.py")
# The description of the machine, which decides on variant and threads.
OF_THE_SYSTEM = ("/proc/", "/sys/")
# What looks at things and changes none; of these the paths are held against the bundle.
READING = ("open", "os.listdir", "os.scandir")
# Of memory, of objects, and of functions of libraries that are loaded already.
HARMLESS = ("array.__new__", "builtins.id", "cpython.", "gc.", "mmap.__new__", "object.__", "sys._getframe")


def noted(warm, path):
    done = subprocess.run(
        [sys.executable, WATCHED, warm, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["folder", "packed file"])
def test_using_a_bundle_touches_nothing_else(kind, tmp_path):
    warm = write_tiny_model(tmp_path / "warm")
    path = write_tiny_model(tmp_path / "bundle")
    names = {part for file in path.rglob("*") for part in file.relative_to(path).parts}
    if kind == "packed file":
        path, names = pack(Bundle.open(path), tmp_path / "packed.edgekit"), set()
    events = noted(warm, path)
    assert sum(event == "open" for event, *_ in events) >= 3
    assert not [event for event in events if not harmless(event, path, names)]


def test_anything_else_would_be_seen(tmp_path):
    for event in (
        ["open", "/etc/passwd", "r", str(os.O_RDONLY)],
        ["open", str(tmp_path / "edgekit.json"), "w", str(os.O_WRONLY)],
        ["os.listdir", str(tmp_path.parent)],
        ["socket.connect", "<socket>", "('127.0.0.1', 80)"],
        ["subprocess.Popen", "sh", "[]", "None", "None"],
        ["ctypes.dlopen", "libcustom.so"],
        ["import", "custom", "None", "[]", "[]", "[]"],
        ["exec", "<code>"],
        ["os.remove", "edgekit.json", "-1"],
        ["pickle.find_class", "os", "system"],
    ):
        assert not harmless(event, tmp_path, {"edgekit.json"})
    assert harmless(["open", "edgekit.json", "None", str(os.O_RDONLY)], tmp_path, {"edgekit.json"})


def harmless(event, path, names):
    kind, *arguments = event
    if kind not in READING:
        return kind.startswith(HARMLESS)
    place = arguments[0]
    # A name alone is opened from a descriptor of the folder above it.
    inside = place in names or place.isdigit() or Path(place).is_relative_to(path)
    writes = kind == "open" and int(arguments[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    return not writes and (inside or place.startswith(OF_THE_SYSTEM))
