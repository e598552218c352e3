"""Add a piece of evidence to a sealed bundle: a new sealed one beside it, then one swap (docs/decisions/0011)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from edgekit.bundle.folder import list_files
from edgekit.bundle.package import PACKAGE_NAME
from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import draft_folder, publish, write_manifests
from edgekit.errors import IntegrityError, OutputError, UsageError
from edgekit.spec.manifest import MANIFEST_NAME, FileEntry

FOLDER: Final = "evidence/"
_ELSEWHERE: Final = "name a file for the evidence with --evidence; the bundle then stays as it is"


def check_resealable(path: Path) -> None:
    """Refuse, before any work is done, a bundle that :func:`add_evidence` would refuse.

    Raises:
        IntegrityError: It is no bundle.
        OutputError: It is signed, is reached through a link, or its folder cannot be replaced.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow the link that is looked for
    _refuse_signed(Bundle.open(place))
    if place.is_symlink():
        raise OutputError(f"{path}: is a link, and would become a folder", hint=_ELSEWHERE)
    for folder in (place.parent, place):
        if not os.access(folder, os.W_OK):
            raise OutputError(f"{path}: {folder} is read-only, so no evidence can be added", hint=_ELSEWHERE)


def add_evidence(path: Path, name: str, content: bytes) -> Bundle:
    """Put a file under ``evidence/`` of a bundle, or replace it there, and seal the bundle anew.

    The bundle at ``path`` is at every moment wholly the old one or wholly the new one. Every other file must be, byte
    for byte, what the old manifest lists: sealing anew blesses no damage. Bytes that are there already change nothing.

    Args:
        path: The bundle's folder.
        name: For example ``evidence/portability.json``.
        content: Its bytes.

    Returns:
        The bundle as it is then.

    Raises:
        UsageError: The name is not of a file under ``evidence/``.
        IntegrityError: The bundle is not what its manifest lists.
        OutputError: See :func:`check_resealable`; or the disk is full.
    """
    if not name.startswith(FOLDER) or name.count("/") != 1 or not name.endswith(".json"):
        raise UsageError(f"{name!r}: evidence is a .json file under {FOLDER}")
    check_resealable(path)
    old = Bundle.open(path)
    listed = {entry.path: entry for entry in old.manifest.files}
    if name in listed and bytes(old.read(name)) == content:
        return old
    with draft_folder(path) as draft:
        for entry in listed.values():
            if entry.path not in (name, PACKAGE_NAME):
                _take(old.root / entry.path, draft / entry.path)
        _write(draft / name, content)
        sealed = write_manifests(draft, old.manifest)
        _require_same(listed, sealed.files, name)
        return publish(draft, path, replace=True)


def _take(source: Path, copy: Path) -> None:
    """The file itself under a second name, which ends with the old bundle, so that weights are not written again."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, copy, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, copy, follow_symlinks=False)
    except OSError as error:
        raise OutputError(f"{copy}: cannot be written: {error.strerror or error}", hint=_ELSEWHERE) from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}", hint=_ELSEWHERE) from error


def _require_same(listed: dict[str, FileEntry], files: tuple[FileEntry, ...], name: str) -> None:
    for entry in files:
        if entry.path not in (name, PACKAGE_NAME) and listed.get(entry.path) != entry:
            raise IntegrityError(
                f"{entry.path}: is not what {MANIFEST_NAME} lists, so no evidence is added", hint="get the bundle again"
            )


def _refuse_signed(bundle: Bundle) -> None:
    listed = {entry.path for entry in bundle.manifest.files} | {MANIFEST_NAME}
    beside = sorted(path for path in list_files(bundle.root) if path not in listed)
    if beside:  # what a manifest cannot list is a signature over it
        raise OutputError(f"{bundle.root}: is signed ({beside[0]}), and new evidence would end that", hint=_ELSEWHERE)
