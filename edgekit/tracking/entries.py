"""What is logged of a build: parameters that it was asked with, metrics of its evidence, tags that say which it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgekit.bundle.evidence import read_parity_evidence
from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError
from edgekit.spec.evidence import VariantEvidence
from edgekit.spec.manifest import Manifest

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_./-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One build as a run of MLflow.

    Attributes:
        name: For people.
        params: What was asked, and what of.
        metrics: What was measured.
        tags: What it is and how it ended.
        bundle: The bundle's folder; None where there is none.
        evidence: A folder with the evidence of a failure, if it left any.
        failed: Whether there is no bundle.
    """

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None
    evidence: Path | None = None
    failed: bool = False


def of_bundle(name: str, asked: Mapping[str, str], path: Path, *, seconds: float | None = None) -> Entry:
    """A build that made a bundle.

    Args:
        name: For people.
        asked: Parameters by name.
        path: The bundle's folder.
        seconds: That the build took.

    Raises:
        IntegrityError: The bundle is not what its manifest lists.
        RecordError: Its evidence is not what such evidence is.
    """
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    variants = read_parity_evidence(bundle).variants
    verdicts = {variant.parity.verdict for variant in variants.values()}
    source = manifest.source
    return Entry(
        name=name,
        params={
            **asked,
            "task": manifest.task,
            "source": source.name,
            "source_revision": source.revision,
            "architecture": source.architecture,
            "targets": ", ".join(manifest.targets),
            "shipped": ", ".join(dict.fromkeys(variant.recipe for variant in manifest.variants)),
            **{f"version.{name}": version for name, version in manifest.generator.items()},
        },
        metrics=dict(_metrics(manifest, variants)) | ({} if seconds is None else {"seconds": seconds}),
        tags={
            "edgekit.verdict": "unproven" if "unproven" in verdicts else "pass",
            "edgekit.manifest_sha256": bundle.manifest_sha256,
            "edgekit.weights_sha256": source.weights_sha256,
        },
        bundle=path,
    )


def of_failure(name: str, asked: Mapping[str, str], kind: str, message: str, evidence: Path | None) -> Entry:
    """A build that ended with an error.

    Args:
        name: For people.
        asked: Parameters by name.
        kind: Of the error.
        message: Of the error.
        evidence: A folder; nothing is logged of it where it does not exist.
    """
    return Entry(
        name=name,
        params=asked,
        tags={"edgekit.verdict": kind, "edgekit.error": message},
        evidence=evidence if evidence is not None and evidence.is_dir() else None,
        failed=True,
    )


def of_error(name: str, asked: Mapping[str, str], error: EdgekitError, evidence: Path | None) -> Entry:
    """The same, of the error itself."""
    return of_failure(name, asked, error.kind, error.message, evidence)


def _metrics(manifest: Manifest, variants: Mapping[str, VariantEvidence]) -> Iterator[tuple[str, float]]:
    """``size_bytes`` and the worst agreement of the bundle, and everything that was measured of each variant."""
    yield "size_bytes", float(sum(entry.size for entry in manifest.files))
    agreements = []
    for variant in manifest.variants:
        evidence = variants[variant.name]
        yield f"{variant.name}/size_bytes", float(evidence.size_bytes)
        for check in evidence.parity.checks:
            value = check.interval.estimate if check.interval else check.measured
            yield f"{variant.name}/{_NOT_IN_A_NAME.sub('_', check.name)}", value
            if "agreement" in check.name and "batch" not in check.name:
                agreements.append(value)
    if agreements:
        yield "agreement", min(agreements)
