"""The parity evidence that a bundle holds, verified and read."""

from __future__ import annotations

from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.spec.evidence import PARITY_EVIDENCE, ParityEvidence, read_evidence
from edgekit.spec.reader import parse_json

MAX_BYTES: Final = 64 << 20


def read_parity_evidence(bundle: Bundle, *, max_bytes: int = MAX_BYTES) -> ParityEvidence:
    """The evidence.

    Args:
        bundle: Open.
        max_bytes: More than this is not read.

    Raises:
        IntegrityError: The manifest lists none, or it is not what is listed.
        RecordError: It is not what such evidence is, or too large.
    """
    return read_evidence(parse_json(bytes(bundle.read(PARITY_EVIDENCE)), PARITY_EVIDENCE, max_bytes=max_bytes))


def find_parity_evidence(bundle: Bundle, *, max_bytes: int = MAX_BYTES) -> ParityEvidence | None:
    """The same; None where the manifest lists none."""
    if not any(entry.path == PARITY_EVIDENCE for entry in bundle.manifest.files):
        return None
    return read_parity_evidence(bundle, max_bytes=max_bytes)
