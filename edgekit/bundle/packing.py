"""Pack a bundle into one file, and unpack it, verifying every byte on the way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from edgekit.bundle.packed import END, members, padding
from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import check_destination, draft_folder, output_error, publish, set_modes, sync_folder
from edgekit.errors import IntegrityError, OutputError
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME

_FILE_MODE: Final = 0o644

Progress = Callable[[int, int], None]


def pack(
    bundle: Bundle,
    destination: Path,
    *,
    replace: bool = False,
    signature: bytes | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a bundle into one file: whole and durable, or not at all.

    The same bundle gives the same bytes. Needs a few MiB of memory, whatever its size.

    Args:
        bundle: A folder or a packed file.
        destination: The file to write; folders above it are made.
        replace: Whether a packed bundle that is there may be replaced.
        signature: Bytes of ``model.sig``; the bundle's own, if it has one, where None.
        progress: Called with (bytes done, bytes in all).

    Raises:
        IntegrityError: The bundle is not what it lists.
        OutputError: Something is there, or the file cannot be written.
    """
    _check_file(destination, replace=replace)
    with written(destination) as stream:
        _write_members(bundle, signature or bundle.signature_bytes(), stream, progress)
    return destination


def unpack(packed: Bundle, destination: Path, *, replace: bool = False, progress: Progress | None = None) -> Bundle:
    """Write a bundle's files into a folder: whole and durable, or not at all.

    Args:
        packed: A packed file, or a folder, which is copied.
        destination: The folder to make.
        replace: Whether a bundle that is there may be replaced.
        progress: Called with (bytes done, bytes in all).

    Returns:
        The bundle at its destination.

    Raises:
        IntegrityError: The packed file is not what it lists.
        OutputError: Something is there, or a file cannot be written.
    """
    check_destination(destination, replace=replace)
    with draft_folder(destination) as draft:
        copy_files(packed, draft, progress)
        return publish(draft, destination, replace=replace)


def copy_files(bundle: Bundle, folder: Path, progress: Progress | None = None) -> None:
    """Write every file of a bundle into an empty folder, each verified while it is copied. Nothing is synced.

    Raises:
        IntegrityError: The bundle is not what it lists.
        OutputError: A file cannot be written.
    """
    small = {MANIFEST_NAME: bundle.manifest_bytes(), SIGNATURE_NAME: bundle.signature_bytes()}
    total = sum(entry.size for entry in bundle.manifest.files)
    done = 0
    try:
        for name, data in small.items():
            if data is not None:
                (folder / name).write_bytes(data)
        for entry in bundle.manifest.files:
            target = folder / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                for chunk in bundle.stream(entry.path):
                    stream.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done, total)
    except OSError as error:
        raise output_error(folder, "cannot be written", error) from error
    set_modes(folder)


def _write_members(bundle: Bundle, signature: bytes | None, stream: BinaryIO, progress: Progress | None) -> None:
    small = {MANIFEST_NAME: bundle.manifest_bytes(), SIGNATURE_NAME: signature}
    total = sum(entry.size for entry in bundle.manifest.files)
    done = size = 0
    for member in members(bundle.manifest_size, None if signature is None else len(signature), bundle.manifest.files):
        stream.write(member.before)
        data = small.get(member.path)
        for chunk in bundle.stream(member.path) if data is None else ():
            stream.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
        stream.write(data or b"")
        size = member.size
    stream.write(padding(size) + END)


@contextmanager
def written(destination: Path, *, aside: Path | None = None) -> Iterator[BinaryIO]:
    """A new file that takes its destination's place, synced, when the block ends well.

    Args:
        destination: The file; folders above it are made.
        aside: A folder of the same file system to write in meanwhile; the destination's own where None.

    Raises:
        OutputError: It cannot be written.
    """
    place = Path(os.path.abspath(destination))  # noqa: PTH100  resolve() would follow a link at the destination
    draft: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.draft-", dir=aside or place.parent)
        draft = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(_FILE_MODE)
        draft.replace(place)
        draft = None
        sync_folder(place.parent)
    except OSError as error:
        raise output_error(destination, "cannot be written", error) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def _check_file(destination: Path, *, replace: bool) -> None:
    if not os.path.lexists(destination):
        return
    if not replace:
        raise OutputError(f"{destination}: exists", hint="choose another file, or ask for it to be replaced")
    if destination.is_symlink() or not destination.is_file():
        raise OutputError(f"{destination}: exists and is no regular file", hint="choose another file")
    try:
        Bundle.open(destination)  # whoever keeps another file there does not lose it
    except IntegrityError as error:
        raise OutputError(
            f"{destination}: exists and is no packed bundle: {error.message}",
            hint="move it away, or choose another file",
        ) from error
