"""Writing a bundle: a draft beside its destination, sealed by its manifests, moved in one step."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgekit.bundle.folder import list_files, open_file
from edgekit.bundle.package import PACKAGE_NAME, ort_package
from edgekit.bundle.paths import check_paths
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError, OutputError
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry, Manifest

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_HINTS: Final = {
    errno.ENOSPC: "free space on that disk, or write to another",
    errno.EDQUOT: "free space in your quota, or write to another disk",
    errno.EROFS: "that file system is read-only; write somewhere else",
    errno.EACCES: "you may not write there; choose another folder or change its permissions",
    errno.EPERM: "you may not write there; choose another folder or change its permissions",
    errno.EXDEV: "make the draft beside its destination, with draft_folder()",
}
# Raised by writing only, so in a draft's block they are the output's, whoever writes.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@contextmanager
def draft_folder(destination: Path) -> Iterator[Path]:
    """A new empty folder beside ``destination``, removed on the way out unless it was published.

    Folders above ``destination`` are made. A full disk, a quota or a read-only file system met
    inside the block leaves it as an :class:`OutputError`.

    Raises:
        OutputError: The folder cannot be made or removed.
    """
    place = Path(os.path.abspath(destination))  # noqa: PTH100  resolve() would follow a link at the destination
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.draft-", dir=place.parent))
    except OSError as error:
        raise output_error(place.parent, "no folder can be made in it", error) from error
    try:
        yield draft
    except BaseException as failure:
        try:
            _remove(draft)
        except OutputError as left:
            failure.add_note(left.message)
        if isinstance(failure, OSError) and failure.errno in _NO_ROOM:
            raise output_error(draft.parent, "cannot be written", failure) from failure
        raise
    _remove(draft)


def write_manifests(folder: Path, manifest: Manifest) -> Manifest:
    """Seal a draft: write ``manifest.json`` for ONNX Runtime, then ``edgekit.json`` over all files.

    Files get mode 0644 and folders 0755, whatever the umask.

    Args:
        folder: The draft, with everything else in place.
        manifest: Its ``files`` are ignored.

    Returns:
        The manifest as written, ``files`` sorted by path.

    Raises:
        IntegrityError: The folder holds what a bundle may not (a link, a bad path, an empty
            folder), or the manifest would not be read again.
        OutputError: A file cannot be written.
    """
    list_files(folder)  # refuses links, so that nothing is written through one
    _write(folder / PACKAGE_NAME, ort_package(manifest))
    paths = sorted(path for path in list_files(folder) if path != MANIFEST_NAME)
    check_paths([MANIFEST_NAME, SIGNATURE_NAME, *paths])
    sealed = dataclasses.replace(manifest, files=tuple(_entry(folder, path) for path in paths))
    data = sealed.to_json()
    Manifest.from_json(data)  # what this version cannot read it does not write
    _write(folder / MANIFEST_NAME, data)
    set_modes(folder)
    return sealed


def check_destination(destination: Path, *, replace: bool = False) -> None:
    """Refuse a destination that :func:`publish` would refuse, before the work is done.

    Raises:
        OutputError: Something is there and ``replace`` is false, or it is no sound bundle.
    """
    if not os.path.lexists(destination):
        return
    if not replace:
        raise OutputError(f"{destination}: exists", hint="choose another folder, or ask for it to be replaced")
    if destination.is_symlink():
        raise OutputError(f"{destination}: exists and is a link", hint="name the folder it leads to, or another")
    try:
        Bundle.open(destination)  # closed world: whoever keeps own files in there does not lose them
    except IntegrityError as error:
        raise OutputError(
            f"{destination}: exists and is no sound bundle: {error.message}",
            hint="move it away, or choose another folder",
        ) from error


def publish(draft: Path, destination: Path, *, replace: bool = False) -> Bundle:
    """Move a sealed draft to its destination, whole and durable, or not at all.

    Everything is synced to the disk first. To replace a bundle, the old one is renamed aside
    (``.NAME.old-…``, beside it), the new one renamed in, and the old one removed; when a step
    fails, the old one is put back. A crash between the two renames leaves it under the aside name.

    Args:
        draft: On the destination's file system; see :func:`draft_folder`.
        destination: Where the bundle shall be.
        replace: Whether a bundle that is there may be replaced.

    Raises:
        IntegrityError: The draft is no bundle.
        OutputError: See :func:`check_destination`; or a sync or rename failed.
    """
    Bundle.open(draft)
    occupied = os.path.lexists(destination)
    check_destination(destination, replace=replace)
    try:
        _sync(draft)
    except OSError as error:
        raise output_error(draft, "cannot be synced to the disk", error) from error
    if occupied:  # as checked above: what appeared since then is not moved aside, and the rename refuses it
        _swap(draft, destination)
    else:
        _move_in(draft, destination)
    return Bundle.open(destination)


def _swap(draft: Path, destination: Path) -> None:
    aside = destination.with_name(f".{destination.name}.old-{secrets.token_hex(4)}")
    try:
        destination.rename(aside)
    except OSError as error:
        raise output_error(destination, "cannot be replaced", error) from error
    try:
        _move_in(draft, destination)
    except OutputError as failure:
        try:
            aside.rename(destination)
        except OSError as error:
            raise OutputError(
                f"{failure.message}; putting the old bundle back failed too: {error.strerror}",
                hint=f"it is whole, in {aside}",
            ) from failure
        raise
    _remove(aside)


def _move_in(draft: Path, destination: Path) -> None:
    try:
        draft.rename(destination)
        try:
            sync_folder(destination.parent)
        except OSError:
            destination.rename(draft)  # not durable is not published
            raise
    except OSError as error:
        raise output_error(destination, "the finished bundle cannot be moved there", error) from error


def _entry(folder: Path, path: str) -> FileEntry:
    with open_file(folder, path) as stream:
        digest = hashlib.file_digest(stream, "sha256")
        size = stream.tell()
    return FileEntry(path=path, size=size, sha256=digest.hexdigest())


def _write(path: Path, data: bytes) -> None:
    try:
        path.unlink(missing_ok=True)
        with path.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        raise output_error(path, "cannot be written", error) from error


def set_modes(folder: Path) -> None:
    """Give every file mode 0644 and every folder 0755, whatever the umask was.

    Raises:
        OutputError: A mode cannot be set.
    """
    try:
        for current, _, files in os.walk(folder, onerror=_fail):
            Path(current).chmod(_FOLDER_MODE)
            for name in files:
                (Path(current) / name).chmod(_FILE_MODE)
    except OSError as error:
        raise output_error(folder, "modes cannot be set", error) from error


def _sync(folder: Path) -> None:
    for current, _, files in os.walk(folder, topdown=False, onerror=_fail):
        for name in files:
            with (Path(current) / name).open("r+b") as stream:  # Windows syncs only what is open for writing
                os.fsync(stream.fileno())
        sync_folder(Path(current))


def _fail(error: OSError) -> None:
    raise error  # os.walk would pass over a folder it cannot read


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder durable.

    Raises:
        OSError: The file system cannot.
    """
    if os.name == "nt":  # it opens no folders; NTFS journals their entries
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise output_error(folder, "cannot be removed", error) from error


def output_error(path: Path, problem: str, error: OSError) -> OutputError:
    """What an operating system's error on writing means, with the next thing to try."""
    hint = _HINTS.get(error.errno or 0, "check the disk, or write somewhere else")
    return OutputError(f"{path}: {problem}: {error.strerror or error}", hint=hint)
