"""Push a bundle to a registry, and pull it into a folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import PREDICATE_TYPE
from edgekit.bundle.trust import Standing, Trust
from edgekit.bundle.writing import check_destination, draft_folder, output_error, publish, set_modes
from edgekit.errors import IntegrityError, UsageError
from edgekit.registry.artifact import (
    BILL,
    SIGNATURE,
    blobs,
    config,
    model_manifest,
    read_model_manifest,
    require_listed,
)
from edgekit.registry.blobs import Blob, fetch, fetch_small, remove_parts, send
from edgekit.registry.client import Client
from edgekit.registry.manifests import attach, get_manifest, put_manifest, referring
from edgekit.registry.reference import Reference
from edgekit.spec.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES, SIGNATURE_NAME, Manifest

BILL_NAME: Final = "sbom.cdx.json"
_ABOUT: Final = {
    SIGNATURE: {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": PREDICATE_TYPE},
    BILL: {"org.opencontainers.image.title": BILL_NAME},
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was written.

    Attributes:
        digest: Of the artifact's manifest; ``…@DIGEST`` names this very bundle.
        size_bytes: Of all its files.
        referrers: Digests of the manifests that refer to it, by artifact type.
    """

    digest: str
    size_bytes: int
    referrers: dict[str, str]


def push(bundle: Bundle, reference: Reference, *, plain_http: bool = False, progress: Progress | None = None) -> Pushed:
    """Write a bundle into a registry: every file a layer, then the manifest, then signature and bill beside it.

    Files that the registry has are not sent again. Every byte is compared with the bundle's manifest on the way.

    Args:
        bundle: A folder or a packed file.
        reference: Where to; with a tag.
        plain_http: Whether to talk without encryption to another machine than this one.
        progress: Called with (bytes done, bytes in all).

    Raises:
        IntegrityError: The bundle is not what it lists.
        RegistryError: The registry does not take it.
        UsageError: The reference is a digest, or the package ``httpx2`` is missing.
    """
    if reference.digest:
        raise UsageError(f"{reference}: a bundle is pushed to a tag; its digest follows from it")
    files = blobs(bundle)
    configuration = config(bundle)
    counter = _Done(sum(blob.size for blob in files.values()), progress)
    with Client(reference, plain_http=plain_http, push=True) as client:
        for path, blob in files.items():
            send(client, blob, _content(bundle, path), counter.advance)
        send(client, Blob.of(configuration), lambda: [configuration], lambda _: None)
        manifest = model_manifest(bundle, configuration)
        subject = Blob.of(manifest)
        put_manifest(client, reference.tag, manifest)
        beside = {SIGNATURE: bundle.signature_bytes()}
        beside[BILL] = bytes(bundle.read(BILL_NAME)) if BILL_NAME in files else None
        referrers = {
            kind: attach(client, subject, kind, data, _ABOUT[kind]).digest
            for kind, data in beside.items()
            if data is not None
        }
    return Pushed(subject.digest, counter.total, referrers)


def pull(
    reference: Reference,
    destination: Path,
    *,
    policy: Trust | None = None,
    replace: bool = False,
    plain_http: bool = False,
    progress: Progress | None = None,
) -> tuple[Bundle, Standing]:
    """Read a bundle from a registry into a folder: whole, verified and durable, or not at all.

    What was fetched of an earlier, interrupted run is kept beside the destination (``.NAME.pull``) and used.

    Args:
        reference: Where from. With a digest, the manifest must be that one.
        destination: The folder to make.
        policy: Whose bundles are taken; see :class:`~edgekit.bundle.trust.Trust`. Anybody's where None.
        replace: Whether a bundle that is there may be replaced.
        plain_http: Whether to talk without encryption to another machine than this one.
        progress: Called with (bytes done, bytes in all).

    Returns:
        The bundle, and what is known of its maker.

    Raises:
        IntegrityError: What the registry sends is not what it says, or not what the policy takes.
        RegistryError: The registry does not send it.
        OutputError: Something is at the destination, or it cannot be written.
    """
    check_destination(destination, replace=replace)
    kept = destination.with_name(f".{destination.name}.pull")
    with Client(reference, plain_http=plain_http) as client:
        subject, data = get_manifest(client, reference.version)
        name = f"{reference}: manifest"
        files = read_model_manifest(data, name)
        listed = fetch_small(client, files[MANIFEST_NAME], MAX_MANIFEST_BYTES)
        require_listed(files, Manifest.from_json(listed), name)
        signatures = referring(client, subject, SIGNATURE, MAX_SIGNATURE_BYTES)
        counter = _Done(sum(blob.size for blob in files.values()), progress)
        with draft_folder(destination) as draft:
            try:
                kept.mkdir(exist_ok=True)
                fetched = {path: fetch(client, blob, kept, counter.advance) for path, blob in files.items()}
                _lay_out(fetched, draft)
            except OSError as error:
                raise output_error(draft, "cannot be written", error) from error
            standing = _signed(draft, signatures, policy or Trust())
            set_modes(draft)
            bundle = publish(draft, destination, replace=replace)
    remove_parts(kept)
    return bundle, standing


class _Done:
    """Bytes done of bytes in all."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def advance(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._done, self.total)


def _content(bundle: Bundle, path: str) -> Callable[[], Iterable[bytes]]:
    if path == MANIFEST_NAME:
        return lambda: [bundle.manifest_bytes()]
    return lambda: bundle.stream(path)


def _lay_out(fetched: Mapping[str, Path], draft: Path) -> None:
    """Move blobs to where they belong; two files may be one blob, and then the first ones are copies."""
    uses = Counter(fetched.values())
    for path, blob in fetched.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        uses[blob] -= 1
        if uses[blob]:
            shutil.copyfile(blob, target)
        else:
            blob.replace(target)


def _signed(draft: Path, signatures: list[bytes], policy: Trust) -> Standing:
    """Put the first signature that the policy takes into a draft; any, where it asks for none."""
    failure: IntegrityError | None = None
    for signature in signatures:
        (draft / SIGNATURE_NAME).write_bytes(signature)
        try:
            return policy.require(Bundle.open(draft))
        except IntegrityError as error:
            failure = error
            (draft / SIGNATURE_NAME).unlink()
    if failure:
        raise failure
    return policy.require(Bundle.open(draft))
