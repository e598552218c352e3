"""What the stages of a cell follow from: the checkpoint, the data, the request, this code, and its libraries."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import edgekit
from edgekit import catalog
from edgekit.matrix.cache import Key
from edgekit.runtime.host import Host
from edgekit.stages import data, fetch
from edgekit.stages.data import Dataset
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.request import BuildRequest

ORIGINAL, CELL = "original", "cell"

# Of the package; how a result is printed, sent or run elsewhere does not change it.
_CODE: Final = ("bundle", "errors.py", "catalog.py", "pipeline.py", "runtime", "spec", "stages")
_LIBRARIES: Final = (
    "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "optimum", "safetensors", "sentence-transformers",
    "tokenizers", "torch", "transformers",
)  # fmt: skip


def original_key(checkpoint: Checkpoint, files: str, request: BuildRequest) -> Key:
    """Of a model's exported graphs and answers, which all its cells share.

    Args:
        checkpoint: The model's.
        files: Digest of its files.
        request: Of one of its cells.

    Raises:
        DataError: The data file cannot be read.
    """
    dataset = data.read_rows(request.data) if request.data else None
    facts = {
        "edgekit": tools(),
        "source": repr(checkpoint.source),
        "name": checkpoint.name,
        "card": repr(checkpoint.card),
        "files": files,
        "own_data": [_sha256(path) for path in checkpoint.own_data or ()],
        "task": request.task,
        "data": [dataset.name, dataset.sha256, *_named_files(dataset)] if dataset else None,
    }
    return Key(ORIGINAL, facts)


def cell_key(original: Key, request: BuildRequest, place: Mapping[str, Any]) -> Key:
    """Of a finished bundle, or of the verdict that there is none.

    Args:
        original: Of its model.
        request: What is built.
        place: Where it is judged: :func:`this_place` or :func:`node_place`.
    """
    facts = {
        "original": original.digest,
        "targets": [repr(catalog.target(name)) for name in request.targets],
        "recipe": request.recipe,
        "optimize": request.optimize,
        "budget": dict(request.budget),
        "allow_unproven": request.allow_unproven,
        "place": dict(place),
    }
    return Key(CELL, facts)


def this_place(host: Host) -> dict[str, Any]:
    """A machine as far as verdicts taken on it may differ from those of another one."""
    return {
        "architecture": host.architecture,
        "cpu": host.cpu_name,
        "features": sorted(host.cpu_features),
        "system": host.system,
        "providers": sorted(host.providers),
    }


def node_place(resources: Mapping[str, float]) -> dict[str, Any]:
    """A cluster's nodes that offer these resources: on any of them the verdict counts as the same."""
    return {"ray": dict(resources)}


@cache
def tools() -> dict[str, str]:
    """The digest of edgekit's own code, and the versions of Python and of the libraries that build."""
    versions = {
        "edgekit": edgekit.__version__,
        "code": _code_digest(),
        "python": ".".join(map(str, sys.version_info[:2])),
    }
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def request_files(request: BuildRequest) -> str:
    """:func:`files_digest` of the checkpoint that a request names, as this machine sees it.

    Raises:
        UsageError: No such model.
        CheckpointError: There is something, but no checkpoint that may be read.
    """
    return files_digest(fetch.requested(request, parse=False).folder)


def files_digest(folder: Path) -> str:
    """One digest over the names and contents of a checkpoint's files; hidden ones do not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            digest.update(f"{relative.as_posix()}\0{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _named_files(dataset: Dataset) -> Iterator[str]:
    """Digests of the images and recordings that rows name; that of the data is of the names alone."""
    columns = sorted(set(data.FILE_COLUMNS.values()))
    for row in (*dataset.calibration, *dataset.judged):
        for column in columns:
            if column in row and Path(row[column]).is_file():
                yield _sha256(Path(row[column]))


def _code_digest() -> str:
    root = Path(edgekit.__file__).parent
    digest = hashlib.sha256()
    for part in _CODE:
        place = root / part
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix != ".pyc":
                content = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows builds the same
                digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
