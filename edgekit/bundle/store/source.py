"""What is copied from a bundle into the store, and the one place where it is read for that."""

from __future__ import annotations

from edgekit.bundle.reading import Bundle
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME


def unlisted(bundle: Bundle) -> dict[str, bytes]:
    """Files that no list can hold, by path: the list itself, and the signature over it if there is one.

    Raises:
        IntegrityError: The manifest was changed since the bundle was opened, or one of them cannot be read.
    """
    signature = bundle.signature_bytes()
    return {MANIFEST_NAME: bundle.manifest_bytes()} | ({SIGNATURE_NAME: signature} if signature is not None else {})
