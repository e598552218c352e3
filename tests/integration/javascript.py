"""The JavaScript package, built, and asked in Node; what Python answers in the same shape."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..loopback import listening  # noqa: TID252 - tests are no installed package

PACKAGE = Path(__file__).parents[2] / "js"


def build_package() -> Path:
    """The package's folder, compiled; skips the test where that is not possible."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node is not installed")
    if not (PACKAGE / "node_modules").is_dir():
        pytest.skip("the JavaScript package's dependencies are not installed: run `make js`")
    if not _is_fresh():
        subprocess.run(["npm", "run", "--silent", "build"], cwd=PACKAGE, check=True)
    return PACKAGE


def _is_fresh() -> bool:
    made = [file.stat().st_mtime for file in (PACKAGE / "dist").glob("*.d.ts")]  # written last
    sources = [*(PACKAGE / "src").iterdir(), PACKAGE / "package.json", PACKAGE / "tsconfig.json"]
    return bool(made) and min(made) > max(file.stat().st_mtime for file in sources)


def ask_node(script: str, asked: Any) -> Any:
    """What a script of ``js/test`` answers to a JSON value."""
    done = subprocess.run(
        ["node", script], cwd=PACKAGE / "test", input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def serving(bundle: Path) -> Iterator[str]:
    """The package, and a bundle as ``/bundle/``, served on loopback; its address."""
    with listening(partial(_Handler, bundle=bundle)) as address:
        yield f"http://{address}"


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def __init__(self, *args: Any, bundle: Path) -> None:
        self._bundle = bundle
        super().__init__(*args, directory=str(PACKAGE))

    def translate_path(self, path: str) -> str:
        bare = path.partition("?")[0]
        if bare.startswith("/bundle/"):
            return str(self._bundle / bare.removeprefix("/bundle/"))
        return super().translate_path(path)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


def in_units(answer: Any, text: str) -> Any:
    """An answer whose places count UTF-16 units, as JavaScript's strings do, instead of characters."""
    if isinstance(answer, list):
        return [in_units(item, text) for item in answer]
    return {
        key: len(text[:value].encode("utf-16-le")) // 2 if key in ("start", "end") else value
        for key, value in answer.items()
    }


def same(found: Any, expected: Any, bound: float = 1e-3) -> float:
    """Compare: the same shape, labels, words and places; numbers within ``bound``.

    Returns:
        The largest difference of two numbers.
    """
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        return max((same(found[key], expected[key], bound) for key in expected), default=0.0)
    if isinstance(expected, np.ndarray | Sequence) and not isinstance(expected, str):
        assert len(found) == len(expected)
        return max((same(one, other, bound) for one, other in zip(found, expected, strict=True)), default=0.0)
    if isinstance(expected, float | np.floating):
        difference = abs(found - float(expected))
        assert difference <= bound, (found, expected)
        return difference
    assert found == expected
    return 0.0
