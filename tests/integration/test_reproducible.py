"""Same inputs, same versions: byte-identical bundles, whatever the place and the environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.stages.data import builtin_texts

pytestmark = pytest.mark.export

BUILD = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[1], 8))
from edgekit.pipeline import BuildRequest, build
from edgekit.spec.progress import Silent
build(
    BuildRequest(
        sys.argv[2], ("x86_64-avx2", "arm64-neon"), Path(sys.argv[3]), data=Path(sys.argv[4]), allow_unproven=True
    ),
    Silent(),
)
"""


def start(checkpoint: Path, output: Path, texts: Path, *, umask: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD, umask, str(checkpoint), str(output), str(texts)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def content(bundle: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file, by path."""
    return {
        path.relative_to(bundle).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in bundle.rglob("*")
        if path.is_file()
    }


def test_bundle_is_byte_identical_wherever_it_is_built(tiny_checkpoint, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(row["text"] for row in builtin_texts().judged[:150]), "utf-8")
    (tmp_path / "elsewhere" / "Ünïcödé and space").mkdir(parents=True)
    here = tmp_path / "bundle"
    there = tmp_path / "elsewhere" / "Ünïcödé and space" / "other-name"
    texts = tmp_path / "texts.txt"
    builds = [  # at once: half the wall time on two cores
        start(tiny_checkpoint, here, texts, umask="022", TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1"),
        start(
            tiny_checkpoint,
            there,
            texts,
            umask="077",
            TZ="Asia/Kathmandu",
            LC_ALL="C",
            PYTHONHASHSEED="42",
        ),
    ]
    for process in builds:
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
    assert content(here).keys() == content(there).keys()
    different = [path for path, found in content(here).items() if content(there)[path] != found]
    assert different == []
    assert {mode for mode, _ in content(here).values()} == {0o644}
    assert any(path.endswith("model.onnx.data") for path in content(here))


def test_bundle_names_no_path_of_the_machine(minilm):
    home = str(Path(sys.prefix)).encode()
    for path, (_, data) in content(minilm.bundle).items():
        assert str(minilm.bundle.parent).encode() not in data, path
        assert home not in data, path
