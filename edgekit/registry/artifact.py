"""A bundle as an OCI artifact: CNCF ModelPack's media types, one raw layer for each file.

https://github.com/modelpack/model-spec, ``docs/spec.md`` and ``docs/config.md``; manifests and descriptors as OCI's
image specification 1.1 has them.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgekit.bundle.paths import check_paths
from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError, RecordError
from edgekit.registry.blobs import Blob
from edgekit.spec.manifest import MANIFEST_NAME, MAX_FILE_BYTES, MAX_FILES, SIGNATURE_NAME, Manifest
from edgekit.spec.reader import Table, parse_json

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
MODEL: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHTS: Final = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS: Final = "application/vnd.cncf.model.weight.config.v1.raw"
DOCUMENT: Final = "application/vnd.cncf.model.doc.v1.raw"
DATASET: Final = "application/vnd.cncf.model.dataset.v1.raw"
FILE_PATH: Final = "org.cncf.model.filepath"
SIGNATURE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BILL: Final = "application/vnd.cyclonedx+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
NOTHING: Final = b"{}"

MAX_MANIFEST_BYTES: Final = 4 << 20


def descriptor(
    media_type: str, blob: Blob, annotations: Mapping[str, str] | None = None, **more: str
) -> dict[str, Any]:
    """A descriptor of OCI's image specification."""
    found: dict[str, Any] = {"mediaType": media_type, "digest": blob.digest, "size": blob.size, **more}
    return found | ({"annotations": dict(annotations)} if annotations else {})


def blobs(bundle: Bundle) -> dict[str, Blob]:
    """Every file of a bundle but its signature, by path, ``edgekit.json`` first."""
    manifest = {MANIFEST_NAME: Blob(f"sha256:{bundle.manifest_sha256}", bundle.manifest_size)}
    return manifest | {entry.path: Blob(f"sha256:{entry.sha256}", entry.size) for entry in bundle.manifest.files}


def config(bundle: Bundle) -> bytes:
    """The bytes of ModelPack's configuration."""
    manifest = bundle.manifest
    precisions = dict.fromkeys(variant.precision for variant in manifest.variants)
    recipes = dict.fromkeys(variant.recipe for variant in manifest.variants)
    return canonical(
        {
            "descriptor": {
                "name": manifest.name,
                "version": manifest.version,
                "revision": manifest.source.revision,
                "sourceURL": manifest.source.name,
                "licenses": [manifest.source.license],
                "description": f"{manifest.task} for {', '.join(manifest.targets)}",
            },
            "config": {
                "architecture": manifest.source.architecture,
                "format": "onnx",
                "precision": ",".join(precisions),
                "quantization": ",".join(recipes),
            },
            "modelfs": {"type": "layers", "diffIds": [blob.digest for blob in blobs(bundle).values()]},
        }
    )


def model_manifest(bundle: Bundle, configuration: bytes) -> bytes:
    """The bytes of the artifact's manifest. The same bundle gives the same bytes, so the same digest."""
    manifest = bundle.manifest
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": MODEL,
            "config": descriptor(CONFIG, Blob.of(configuration)),
            "layers": [
                descriptor(_media_type(path, manifest), blob, {FILE_PATH: path}) for path, blob in blobs(bundle).items()
            ],
            "annotations": {
                "org.opencontainers.image.title": manifest.name,
                "org.opencontainers.image.version": manifest.version,
                "org.opencontainers.image.licenses": manifest.source.license,
            },
        }
    )


def referrer(subject: Blob, media_type: str, layer: Blob, annotations: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a manifest that says something about another: a signature, a bill of materials."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": media_type,
            "config": descriptor(EMPTY, Blob.of(NOTHING)),
            "layers": [descriptor(media_type, layer)],
            "subject": descriptor(OCI_MANIFEST, subject),
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )


def read_model_manifest(data: bytes, name: str) -> dict[str, Blob]:
    """The files that an artifact's manifest lists, by path.

    Raises:
        IntegrityError: It is no manifest of a bundle.
    """
    try:
        table = parse_json(data, name, max_bytes=MAX_MANIFEST_BYTES)
        table.integer("schemaVersion", minimum=2, maximum=2)
        table.string("mediaType", choices=(OCI_MANIFEST,))
        table.string("artifactType", choices=(MODEL,))
        files: dict[str, Blob] = {}
        for layer in table.tables("layers", max_items=MAX_FILES + 1):
            if not layer.string("mediaType").endswith(".raw"):
                raise layer.error("mediaType", "expected a raw layer: one file, neither archived nor compressed")
            path = layer.table("annotations").string(FILE_PATH)
            if path in files:
                raise layer.error("annotations", f"{path!r} appears twice")
            files[path] = read_blob(layer)
    except RecordError as error:
        raise IntegrityError(error.message, hint=error.hint or "it is no bundle that `edgekit push` made") from error
    if MANIFEST_NAME not in files:
        raise IntegrityError(f"{name}: has no {MANIFEST_NAME}", hint="it is no bundle that `edgekit push` made")
    return files


def require_listed(files: Mapping[str, Blob], manifest: Manifest, name: str) -> None:
    """Refuse an artifact whose layers are not what ``edgekit.json`` lists, or lie where no bundle's file may.

    Raises:
        IntegrityError: Naming the first file that differs, or the path.
    """
    check_paths([SIGNATURE_NAME, *files])
    listed = {entry.path: Blob(f"sha256:{entry.sha256}", entry.size) for entry in manifest.files}
    for path in sorted({*files, *listed} - {MANIFEST_NAME}):
        if files.get(path) != listed.get(path):
            problem = "has another digest or size" if path in files and path in listed else "is missing"
            problem = problem if path in listed else "is not listed"
            raise IntegrityError(f"{name}: {path!r}: {problem}", hint="the artifact is damaged or was changed")


def read_blob(table: Table) -> Blob:
    """The blob of a descriptor.

    Raises:
        RecordError: It is no descriptor by sha256.
    """
    digest = table.string("digest", max_length=71)
    if len(digest) != 71 or not digest.startswith("sha256:") or set(digest[7:]) - set("0123456789abcdef"):
        raise table.error("digest", "expected sha256: and 64 lower-case hexadecimal digits")
    return Blob(digest, table.integer("size", maximum=MAX_FILE_BYTES))


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON without blanks, keys in order: the same content gives the same digest."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _media_type(path: str, manifest: Manifest) -> str:
    folders: Iterable[str] = (variant.folder for variant in manifest.variants)
    if any(posixpath.dirname(path) == folder for folder in folders):
        return WEIGHTS
    if path == manifest.golden:
        return DATASET
    return DOCUMENT if path.startswith("evidence/") or path.endswith((".md", ".cdx.json")) else SETTINGS
