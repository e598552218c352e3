"""Manifests, and what refers to them: signatures and bills of materials."""

from __future__ import annotations

import json
from typing import Any, Final

from edgekit.errors import IntegrityError, RecordError, RegistryError
from edgekit.registry.artifact import (
    MAX_MANIFEST_BYTES,
    NOTHING,
    OCI_INDEX,
    OCI_MANIFEST,
    canonical,
    descriptor,
    read_blob,
    referrer,
)
from edgekit.registry.blobs import Blob, fetch_small, send, tries
from edgekit.registry.client import Broken, Client
from edgekit.spec.reader import parse_json

MAX_REFERRERS: Final = 64


def get_manifest(client: Client, version: str, media_type: str = OCI_MANIFEST) -> tuple[Blob, bytes]:
    """A manifest by tag or digest; by digest it is held to that.

    Raises:
        IntegrityError: It is not what its digest says.
        RegistryError: There is none, or it is too large.
    """
    found = _get(client, f"manifests/{version}", media_type)
    if found is None:
        raise client.refusal(404, "manifest")
    blob = Blob.of(found)
    if version.startswith("sha256:") and blob.digest != version:
        raise IntegrityError(
            f"{client.reference}: asked for the manifest {version}, got {blob.digest}", hint="ask whoever pushed it"
        )
    return blob, found


def put_manifest(client: Client, version: str, data: bytes, media_type: str = OCI_MANIFEST) -> bool:
    """Write a manifest under a tag or its digest; whether the registry keeps track of what refers to what.

    Raises:
        RegistryError: The registry does not take it.
    """
    for _ in tries(client, "manifest"):
        try:
            with client.request(
                "PUT", f"manifests/{version}", headers={"Content-Type": media_type}, content=data
            ) as response:
                if response.status_code != 201:
                    raise client.refused(response, "manifest")
                return "OCI-Subject" in response.headers
        except Broken:
            continue
    raise AssertionError("unreachable")


def attach(client: Client, subject: Blob, media_type: str, data: bytes, annotations: dict[str, str]) -> Blob:
    """Write a manifest that refers to another, with one layer; the manifest's blob.

    Where the registry does not keep track of that itself, the index under the tag ``sha256-DIGEST`` does, as the
    distribution specification says ("Referrers Tag Schema").
    """
    layer = Blob.of(data)
    for blob, content in ((layer, data), (Blob.of(NOTHING), NOTHING)):
        send(client, blob, lambda content=content: [content], lambda _: None)  # type: ignore[misc]
    manifest = referrer(subject, media_type, layer, annotations)
    made = Blob.of(manifest)
    if not put_manifest(client, made.digest, manifest):
        tag = subject.digest.replace(":", "-")
        known = [entry for entry in _indexed(client, subject) if entry["digest"] != made.digest]
        new = descriptor(OCI_MANIFEST, made, annotations, artifactType=media_type)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*known, new]}
        put_manifest(client, tag, canonical(index), OCI_INDEX)
    return made


def referring(client: Client, subject: Blob, media_type: str, limit: int) -> list[bytes]:
    """The contents of what refers to a manifest with that type, in the registry's order.

    Raises:
        IntegrityError: Something is not what its digest says, or no manifest of that kind.
        RegistryError: The registry does not send it, or it is over ``limit`` bytes.
    """
    found = []
    for entry in _indexed(client, subject):
        if entry.get("artifactType") == media_type:
            _, data = get_manifest(client, entry["digest"])
            found.append(fetch_small(client, _layer(data, subject, media_type, str(client.reference)), limit))
    return found


def _indexed(client: Client, subject: Blob) -> list[dict[str, Any]]:
    for path in (f"referrers/{subject.digest}", f"manifests/{subject.digest.replace(':', '-')}"):
        data = _get(client, path, OCI_INDEX)
        if data is not None:
            return _entries(data, f"{client.reference}: referrers")
    return []


def _entries(data: bytes, name: str) -> list[dict[str, Any]]:
    try:
        table = parse_json(data, name, max_bytes=MAX_MANIFEST_BYTES)
        for entry in table.tables("manifests", max_items=MAX_REFERRERS):
            read_blob(entry)
    except RecordError as error:
        raise RegistryError(error.message) from error
    entries: list[dict[str, Any]] = json.loads(data)["manifests"]
    return entries


def _layer(data: bytes, subject: Blob, media_type: str, name: str) -> Blob:
    try:
        table = parse_json(data, f"{name}: referrer", max_bytes=MAX_MANIFEST_BYTES)
        if read_blob(table.table("subject")) != subject:
            raise table.error("subject", "is another manifest")
        layers = list(table.tables("layers", max_items=1))
        if not layers:
            raise table.error("layers", "expected one")
        layers[0].string("mediaType", choices=(media_type,))
        return read_blob(layers[0])
    except RecordError as error:
        raise IntegrityError(error.message, hint="the artifact is damaged or was changed") from error


def _get(client: Client, path: str, media_type: str) -> bytes | None:
    for _ in tries(client, path):
        try:
            with client.request("GET", path, headers={"Accept": media_type}) as response:
                if response.status_code == 404:
                    return None
                if response.status_code != 200:
                    raise client.refused(response, path)
                return client.body(response, MAX_MANIFEST_BYTES, path)
        except Broken:
            continue
    raise AssertionError("unreachable")
