"""The checksum a JSON record carries over itself."""

from __future__ import annotations

import hashlib
import re

from edgekit.errors import RecordError


def seal(data: bytes, name: str) -> bytes:
    """Put the right ``checksum`` into the bytes of a JSON record.

    ``edgekit.json`` cannot list its own digest among its files, so it carries one over itself: the
    SHA-256 of its bytes with the 64 digits of the first ``"checksum"`` replaced by zeros. Taken
    over bytes, it holds for fields and layouts this version does not know. It finds accidents (a
    flipped bit, an edit), not malice: whoever changes the file can seal it again.

    Args:
        data: The record, with any 64 hexadecimal digits as its ``checksum``.
        name: What to call it in errors.

    Raises:
        RecordError: There is no such ``checksum``.
    """
    match = re.search(rb'"checksum": *"([0-9a-f]{64})"', data)
    if not match:
        raise RecordError(f"{name}: checksum: expected 64 lower-case hexadecimal digits")
    head, tail = data[: match.start(1)], data[match.end(1) :]
    return head + hashlib.sha256(head + b"0" * 64 + tail).hexdigest().encode() + tail
