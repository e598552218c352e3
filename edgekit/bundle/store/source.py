"""What is copied from a bundle into the store, and the one place where it is read for that."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.bundle.reading import Bundle
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry


def pieces(bundle: Bundle, entry: FileEntry) -> Iterator[bytes]:
    """The content of a listed file, piece by piece; what was received counts once the iterator has ended.

    Raises:
        IntegrityError: The file is missing, unreadable, or not what is listed, which the last step tells.
    """
    return bundle.stream(entry.path)


def unlisted(bundle: Bundle) -> dict[str, bytes]:
    """Files that no list can hold, by path: the list itself, and a signature where there is one.

    Raises:
        IntegrityError: They cannot be read, or the list was changed since it was opened.
    """
    files = {MANIFEST_NAME: bundle.manifest_bytes()}
    signature = bundle.signature_bytes()
    return files if signature is None else files | {SIGNATURE_NAME: signature}
