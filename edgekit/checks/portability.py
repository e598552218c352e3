"""Does the new bundle run, and answer alike, in the environments asked for?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgekit.checks.findings import FAIL, INCONCLUSIVE, NOTE, PASS, Finding
from edgekit.errors import InconclusiveError
from edgekit.portability import Outcome, Proof, Report, prove
from edgekit.spec.progress import Progress


def proved(bundle: Path, targets: Sequence[str], progress: Progress) -> list[Finding]:
    """Run a bundle in environments; see :func:`edgekit.portability.prove`.

    Raises:
        UsageError: A name is unknown.
        IntegrityError: The bundle is not, byte for byte, what its manifest lists.
    """
    report = prove(bundle, targets, progress)
    return [finding(report, proof) for proof in report.proofs]


def finding(report: Report, proof: Proof) -> Finding:
    """What one environment said, as the report judges it."""
    error = dataclasses.replace(report, proofs=(proof,)).error()
    if proof.outcome is Outcome.PASS:
        outcome = PASS
    elif error is None:
        outcome = NOTE  # tried, though nobody claims it
    else:
        outcome = INCONCLUSIVE if isinstance(error, InconclusiveError) else FAIL
    said = f"{proof.outcome}: {proof.reason}" if proof.outcome is not Outcome.PASS else proof.reason
    return Finding(
        "portability", proof.name, outcome, new=proof.variant, detail=said, cause=type(error) if error else None
    )
