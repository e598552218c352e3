"""Hand hostile inputs to a child with limits, and hold every one of them to one typed error and an unchanged disk."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit

CHILD = Path(__file__).with_name("child.py")
VERIFY = ("verify", "--json", "--", "{}")
REPOSITORY = Path(edgekit.__file__).parents[1]


def outcomes(inputs, tmp_path, command=VERIFY, **environment):
    """What became of each path in ``inputs``, by path. A child that died names the input it died of.

    ``command`` is what the command line is given of each, which stands in it as ``{}``.
    """
    if sys.platform != "linux":
        pytest.skip("the child is limited by Linux's means")
    listed = tmp_path / "inputs.txt"
    listed.write_bytes(b"\n".join(os.fsencode(path) for path in inputs))
    done = subprocess.run(
        [sys.executable, CHILD, listed, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            **environment,
        },
    )
    found = {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}
    if done.returncode or len(found) != len(inputs):
        missing = next((path for path in inputs if os.fspath(path) not in found), None)
        raise AssertionError(f"the child ended with {done.returncode} at {missing}: {done.stderr[-2000:]}")
    return found


def hold(inputs, tmp_path, *, errors=("IntegrityError",), exit_codes=(7,), unread=(), **environment):
    """That every path in ``inputs`` is refused by the library and the command line, and nothing on disk changed.

    ``unread`` is what may become of it before it is loaded: where the bytes are sound, and what they say is not.
    """
    before = {path: fingerprint(path) for path in inputs}
    found = outcomes(inputs, tmp_path, **environment)
    wrong = [
        line
        for line in found.values()
        if line["verify"] not in (*errors, *unread)
        or line["load"] not in errors
        or line["exit_code"] not in exit_codes
        or line["traceback"]
    ]
    assert not wrong, wrong[:5]
    assert {path: fingerprint(path) for path in inputs} == before
    return found


def fingerprint(path):
    """Everything about a file or folder that an honest reader leaves alone."""
    paths = [path, *sorted(path.rglob("*"))] if path.is_dir() and not path.is_symlink() else [path]
    return [(str(one), _of_one(one)) for one in paths]


def _of_one(path):
    if not os.path.lexists(path):
        return "missing"
    status = path.lstat()
    small_file = path.is_file() and not path.is_symlink() and status.st_size < 1 << 24
    content = hashlib.sha256(path.read_bytes()).hexdigest() if small_file else ""
    return status.st_mode, status.st_size, status.st_mtime_ns, content
