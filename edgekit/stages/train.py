"""Train: make a reference model of the catalog on this machine, once, and keep it in the user's cache.

The training code lies in ``models/`` and runs in a process of its own: it fixes random states, and what it
asks of torch (deterministic algorithms) must not reach the build.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Final

from edgekit import catalog
from edgekit.errors import CheckpointError, OutputError
from edgekit.spec.model import ModelCard, Trained
from edgekit.spec.user_folders import cache_folder

FINISHED: Final = "training.json"  # the last file the training code writes
CALIBRATION: Final = "calibration.jsonl"
EVALUATION: Final = "evaluation.jsonl"
_ALWAYS: Final = ("numpy", "tokenizers", "torch", "transformers")
_TRAINING: Final = ".training-"

Advance = Callable[[int, int], None]


def cached(card: ModelCard) -> Path | None:
    """The trained checkpoint of a card, or None where it has yet to be trained (or is not of that kind)."""
    if not isinstance(card.origin, Trained):
        return None
    folder = _folder(card, card.origin)
    return folder if (folder / FINISHED).is_file() else None


def trained(card: ModelCard, advance: Advance) -> Path:
    """The trained checkpoint of a card; trained now where the cache does not hold it.

    Args:
        card: A card whose origin is :class:`Trained`.
        advance: Told steps done and steps in all while it trains.

    Raises:
        CheckpointError: The training code failed, or did no better than its baseline.
        OutputError: The cache cannot be written.
    """
    assert isinstance(card.origin, Trained)  # noqa: S101 - the caller's duty
    folder = _folder(card, card.origin)
    if (folder / FINISHED).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_TRAINING, dir=folder.parent) as scratch:
            made = Path(scratch) / folder.name
            made.mkdir()
            _run(card.name, card.origin, made, advance)
            _publish(made, folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: the trained model cannot be kept: {error.strerror}",
            hint="free space on that disk, or name another cache with EDGEKIT_CACHE",
        ) from error
    return folder


def key(code: Path, origin: Trained, trainers: Collection[str], versions: Mapping[str, str]) -> str:
    """What a trained checkpoint depends on, as 16 hexadecimal digits.

    Args:
        code: The folder of ``train.py`` and ``training/``.
        origin: Whose key is wanted.
        trainers: Of every card; the others' files do not count.
        versions: Of Python and of the distributions that train or are read, by name.
    """
    digest = hashlib.sha256()
    for path in (code / "train.py", *sorted((code / "training").glob("*.py"))):
        if path.stem == origin.trainer or path.stem not in trainers:
            content = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows trains the same
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    digest.update("".join(f"{name} {version}\n" for name, version in sorted(versions.items())).encode())
    return digest.hexdigest()[:16]


def _folder(card: ModelCard, origin: Trained) -> Path:
    cards = catalog.models().values()
    trainers = {other.origin.trainer for other in cards if isinstance(other.origin, Trained)}
    fingerprint = key(catalog.training_code(), origin, trainers, _versions(origin))
    return cache_folder(os.environ, sys.platform, Path.home()) / "models" / f"{card.name}-{fingerprint}"


def _versions(origin: Trained) -> dict[str, str]:
    versions = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in (*_ALWAYS, *origin.reads):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"  # listing models needs no build side; training will say so
    return versions


def _run(name: str, origin: Trained, folder: Path, advance: Advance) -> None:
    command = [sys.executable, str(catalog.training_code() / "train.py"), origin.trainer, str(folder)]
    # A set's order is part of the result, and code in a wheel's folder stays as it was installed.
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)  # noqa: S603 - our own script
        with process:
            try:
                _follow(process, advance)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0 or not (folder / FINISHED).is_file():
            raise CheckpointError(
                f"{name}: training failed: {_last_line(errors)}",
                hint="pip install 'edgekit[export]' brings what it needs",
            )


def _follow(process: subprocess.Popen[bytes], advance: Advance) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        words = line.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            advance(int(words[0]), int(words[1]))


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _publish(made: Path, folder: Path) -> None:
    """Move the finished folder to its name at once; where another process was first, its result stays."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / FINISHED).is_file():
            raise
