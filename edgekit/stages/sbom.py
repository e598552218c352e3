"""``sbom.cdx.json``: what a bundle is made of and where it came from, as a CycloneDX bill of materials.

Made from the manifest and the evidence alone, so it repeats to the byte: no clock, and a serial number that
follows from the content. CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from edgekit.spec.manifest import Component, FileEntry, Manifest
from edgekit.spec.parity import LARGEST

SBOM: Final = "sbom.cdx.json"
SPEC_VERSION: Final = "1.6"

# SPDX's spelling of licences that hubs write in lower case. Any other name is passed on as a name.
_SPDX: Final = {
    name.lower(): name
    for name in (
        "AFL-3.0", "AGPL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-4.0",
        "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ECL-2.0", "EPL-2.0",
        "EUPL-1.2", "GPL-2.0", "GPL-3.0", "ISC", "LGPL-2.1", "LGPL-3.0", "MIT", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0",
        "OFL-1.1", "PSF-2.0", "Unlicense", "WTFPL", "Zlib",
    )
}  # fmt: skip


def bill_of_materials(manifest: Manifest, evidence: Mapping[str, Any]) -> bytes:
    """The bytes of the bill.

    Args:
        manifest: Of the bundle, with all its files but the bill itself.
        evidence: As :func:`edgekit.stages.evidence.parity_evidence` gives it.
    """
    model = f"bundle:{manifest.name}@{manifest.version}"
    files = [_file(entry) for entry in manifest.files if entry.path != SBOM]
    document: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": version}
                    for name, version in sorted(manifest.generator.items())
                ]
            },
            "component": _model(manifest, evidence, model),
        },
        "components": [_source(manifest), _data(evidence["data"]), *files],
        "dependencies": [
            {"ref": model, "dependsOn": sorted(["source", "data", *(file["bom-ref"] for file in files)])},
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"edgekit:{hashlib.sha256(_bytes(document)).hexdigest()}")
    return _bytes({**document, "serialNumber": f"urn:uuid:{serial}"})


def _model(manifest: Manifest, evidence: Mapping[str, Any], reference: str) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": manifest.name,
        "version": manifest.version,
        "licenses": [_license(manifest.source.license)],
        "pedigree": {"ancestors": [_source(manifest, reference="")]},
        "modelCard": {
            "modelParameters": {
                "task": manifest.task,
                "modelArchitecture": manifest.source.architecture,
                "datasets": [{"ref": "data"}],
                "inputs": _formats(manifest.components, "inputs"),
                "outputs": _formats(manifest.components, "outputs"),
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    _metric(variant["name"], check)
                    for variant in evidence["variants"]
                    for check in variant["parity"]["checks"]
                ]
            },
            **({"considerations": {"technicalLimitations": evidence["doubts"]}} if evidence["doubts"] else {}),
        },
        "properties": [
            {"name": "edgekit:release", "value": str(manifest.release)},
            {"name": "edgekit:onnxruntime", "value": manifest.onnxruntime},
            {"name": "edgekit:targets", "value": " ".join(sorted(manifest.targets))},
            *(
                {"name": f"edgekit:parity:{variant.name}", "value": f"{variant.parity} ({variant.recipe})"}
                for variant in manifest.variants
            ),
        ],
    }


def _metric(variant: str, check: Mapping[str, Any]) -> dict[str, Any]:
    """A measured check: the value its verdict was taken on, and the interval where there is one."""
    interval: Mapping[str, float] = check.get("interval") or {"low": math.inf, "high": math.inf}
    finite = all(abs(interval[end]) < LARGEST for end in ("low", "high"))
    bounds = {"lowerBound": f"{interval['low']:g}", "upperBound": f"{interval['high']:g}"} if finite else {}
    return {
        "type": check["name"],
        "value": f"{check['measured']:g}",
        "slice": f"{variant}: {'holds' if check['passed'] else 'fails'} against {check['bound']:g}",
        **({"confidenceInterval": bounds} if bounds else {}),
    }


def _source(manifest: Manifest, reference: str = "source") -> dict[str, Any]:
    source = manifest.source
    return {
        "type": "machine-learning-model",
        **({"bom-ref": reference} if reference else {}),
        "name": source.name,
        "version": source.revision,
        "description": f"the original model, {source.architecture}; the digest is over its weight files",
        "licenses": [_license(source.license)],
        "hashes": [{"alg": "SHA-256", "content": source.weights_sha256}],
    }


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    digest = str(data.get("sha256", ""))
    known = re.fullmatch(r"[0-9a-f]{64}", digest)
    return {
        "type": "data",
        "bom-ref": "data",
        "name": data["name"],
        "description": f"judged on {data['judged']} inputs, calibrated on {data['calibrated']}",
        **({"hashes": [{"alg": "SHA-256", "content": digest}]} if known else {}),
        "data": [{"type": "dataset", "name": data["name"]}],
    }


def _file(entry: FileEntry) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{entry.path}",
        "name": entry.path,
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
        "properties": [{"name": "edgekit:size_bytes", "value": str(entry.size)}],
    }


def _license(name: str) -> dict[str, Any]:
    known = _SPDX.get(name.lower())
    return {"license": {"id": known} if known else {"name": name}}


def _formats(components: Mapping[str, Component], side: str) -> list[dict[str, str]]:
    return [
        {"format": f"{name}: {tensor.name} {tensor.dtype} [{', '.join(str(size) for size in tensor.shape)}]"}
        for name, component in sorted(components.items())
        for tensor in getattr(component, side)
    ]


def _bytes(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
