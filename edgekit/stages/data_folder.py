"""Data in files of their own: a folder of images or sound, with a sub-folder for each label."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Final

from edgekit.errors import DataError

# Column of the rows by what a file's name ends with.
KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"), "image"),
    **dict.fromkeys((".flac", ".mp3", ".ogg", ".wav"), "audio"),
}
LABEL: Final = "label"


def folder_rows(folder: Path, most: int) -> tuple[list[dict[str, str]], str]:
    """Rows for the files of a folder, and a digest of their content.

    The labels take turns, so that any part of the rows holds all of them.

    Args:
        folder: Its files, or those of its sub-folders, whose names are then the labels.
        most: Rows, at most.

    Returns:
        Rows of ``image`` or ``audio`` (relative to ``folder``), with ``label`` where there are sub-folders; and the
        sha256 over names and bytes of these files.

    Raises:
        DataError: There are no such files, files of both kinds, or one cannot be read.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        labelled = [path for path in entries if path.is_dir()]
        groups = [_files(group) for group in labelled] if labelled else [_files(folder)]
        turns = [path for turn in zip_longest(*groups) for path in turn if path is not None][:most]
        kinds = {KINDS[path.suffix.lower()] for path in turns}
        if len(kinds) != 1:
            raise DataError(
                f"{folder}: holds {' and '.join(sorted(kinds)) or 'no image or audio'} files; expected one kind",
                hint=f"files that end with {', '.join(KINDS)}, in sub-folders named by their labels",
            )
        kind = kinds.pop()
        digest = hashlib.sha256()
        for path in turns:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error
    rows = [{kind: path.relative_to(folder).as_posix()} for path in turns]
    if labelled:
        rows = [row | {LABEL: path.parent.name} for row, path in zip(rows, turns, strict=True)]
    return rows, digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in KINDS)
