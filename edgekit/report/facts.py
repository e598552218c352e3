"""What the page tells, gathered from a bundle and its evidence; the page itself computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgekit.bundle.evidence import find_parity_evidence
from edgekit.bundle.reading import Bundle
from edgekit.checks.findings import Finding
from edgekit.checks.latency import Latency
from edgekit.report.energy import Energy
from edgekit.spec.evidence import ParityEvidence
from edgekit.spec.manifest import Manifest
from edgekit.spec.reader import parse_json

PORTABILITY: Final = "evidence/portability.json"
NOT_MEASURABLE: Final = "not measurable here"


@dataclass(frozen=True, slots=True)
class Place:
    """One environment that a bundle was run in."""

    name: str
    kind: str
    outcome: str
    reason: str
    variant: str
    worst: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured for the page, on this machine.

    Attributes:
        host: It, for people.
        latency: Times of the bundle and, where there is one, of the baseline.
        samples: By measure and bundle, milliseconds in the order taken; without a baseline the bundle's alone.
        memory: By what, by bundle, bytes; None where the system does not tell.
        energy: By measure; None where there are no counters.
    """

    host: str
    latency: Latency | None = None
    samples: dict[str, dict[str, Sequence[float]]] = field(default_factory=dict)
    memory: dict[str, dict[str, float | None]] = field(default_factory=dict)
    energy: dict[str, Energy] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page.

    Attributes:
        manifest: The bundle's.
        digest: Of its manifest, which names its whole content.
        evidence: Of parity; None where it has none.
        places: Where it was run; empty where no such evidence is in it.
        old: Name of the baseline, if there is one.
        old_manifest: The baseline's.
        old_evidence: Likewise.
        findings: Of a check against the baseline, without the clock.
        measured: On this machine.
    """

    manifest: Manifest
    digest: str
    evidence: ParityEvidence | None
    places: tuple[Place, ...]
    measured: Measured
    old: str = ""
    old_manifest: Manifest | None = None
    old_evidence: ParityEvidence | None = None
    findings: tuple[Finding, ...] = ()


def gather(bundle: Bundle, measured: Measured, old: Bundle | None = None, findings: tuple[Finding, ...] = ()) -> Page:
    """Read a bundle's evidence, every byte verified.

    Raises:
        IntegrityError: A file is not what the manifest lists.
        RecordError: Evidence is not what it says it is.
    """
    return Page(
        manifest=bundle.manifest,
        digest=bundle.manifest_sha256,
        evidence=find_parity_evidence(bundle),
        places=_places(bundle),
        measured=measured,
        old=_name(old) if old else "",
        old_manifest=old.manifest if old else None,
        old_evidence=find_parity_evidence(old) if old else None,
        findings=findings,
    )


def folder_bytes(manifest: Manifest, folder: str = "") -> int:
    """Bytes of a folder of the bundle, or of all of it."""
    return sum(entry.size for entry in manifest.files if not folder or entry.path.startswith(f"{folder}/"))


def _name(bundle: Bundle) -> str:
    return f"{bundle.manifest.name} {bundle.manifest.version}, release {bundle.manifest.release}"


def _places(bundle: Bundle) -> tuple[Place, ...]:
    if not any(entry.path == PORTABILITY for entry in bundle.manifest.files):
        return ()
    table = parse_json(bytes(bundle.read(PORTABILITY)), PORTABILITY, max_bytes=1 << 24)
    return tuple(
        Place(
            name=item.string("name"),
            kind=item.string("kind"),
            outcome=item.string("outcome"),
            reason=item.string("reason"),
            variant=item.string("variant"),
            worst=f"{item.table('golden').number('worst'):.5f}" if "golden" in item else "",
        )
        for item in table.tables("proofs")
    )


def to_json(page: Page) -> dict[str, Any]:
    """The figures of the page that are not in the bundle already, as JSON values."""
    measured = page.measured
    return {
        "bundle": f"{page.manifest.name} {page.manifest.version}",
        "host": measured.host,
        "latency": measured.latency.to_json() if measured.latency else None,
        "memory": measured.memory,
        "energy": (
            NOT_MEASURABLE
            if measured.energy is None
            else {name: one.to_json() for name, one in measured.energy.items()}
        ),
        "findings": [finding.to_json() for finding in page.findings],
    }
