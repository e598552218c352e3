"""What is copied from a bundle into the store, and the one place where it is read for that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from edgekit.bundle.folder import open_file
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileEntry

_CHUNK_BYTES: Final = 1 << 20
_CHANGED: Final = "it was changed while it was being installed; get the bundle again"


def pieces(bundle: Bundle, entry: FileEntry) -> Iterator[bytes]:
    """The content of a listed file, piece by piece; what was received counts once the iterator has ended.

    Raises:
        IntegrityError: The file is missing, unreadable, or not what is listed, which the last step tells.
    """
    digest = hashlib.sha256()
    size = 0
    with open_file(bundle.root, entry.path) as stream:
        # One byte more than listed is read at most: a file may grow while it is read.
        while size <= entry.size and (piece := stream.read(min(_CHUNK_BYTES, entry.size + 1 - size))):
            digest.update(piece)
            size += len(piece)
            yield piece
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise IntegrityError(f"{entry.path}: is not what {MANIFEST_NAME} lists", hint=_CHANGED)


def manifest(bundle: Bundle) -> bytes:
    """The bytes of ``edgekit.json`` that the bundle was opened with.

    Raises:
        IntegrityError: They were changed since.
    """
    with open_file(bundle.root, MANIFEST_NAME) as stream:
        data = b""
        while len(data) <= MAX_MANIFEST_BYTES and (piece := stream.read(_CHUNK_BYTES)):
            data += piece
    if hashlib.sha256(data).hexdigest() != bundle.manifest_sha256:
        raise IntegrityError(f"{MANIFEST_NAME}: changed since the bundle was opened", hint=_CHANGED)
    return data


def unlisted(bundle: Bundle) -> dict[str, bytes]:
    """Files that no list can hold, by path: the list itself.

    Raises:
        IntegrityError: See :func:`manifest`.
    """
    return {MANIFEST_NAME: manifest(bundle)}
