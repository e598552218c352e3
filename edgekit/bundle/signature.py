"""Reading and judging ``model.sig``: OpenSSF Model Signing 1.0, key method, as strictly as the specification allows.

The file is a sigstore bundle with a DSSE envelope around an in-toto statement that lists every file with its digest:
https://github.com/ossf/model-signing-spec, ``spec/v1.0.md``. A bundle of edgekit has its own list with the same
digests, so nothing is hashed here: the two lists must be one. Needs ``cryptography`` for the key, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgekit.errors import HostError, IntegrityError, RecordError
from edgekit.spec.manifest import MANIFEST_NAME, MAX_FILES, MAX_SIGNATURE_BYTES, SIGNATURE_NAME
from edgekit.spec.reader import Table, parse_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from edgekit.bundle.reading import Bundle

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
# What a signer may leave out: the signature itself, and what git keeps beside files. None of it can be in a bundle.
IGNORABLE: Final = frozenset({SIGNATURE_NAME, ".git", ".gitignore", ".gitattributes", ".github"})
CURVES: Final = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}

_HINT: Final = "get the bundle and its signature again from whoever signed it"
_MAX_SIGNATURE: Final = 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are held against.

    Attributes:
        name: What to call it, usually its file's name.
        fingerprint: SHA-256 of its PEM form, 64 lower-case hexadecimal digits; signatures name keys by it.
        key: The key itself.
    """

    name: str
    fingerprint: str
    key: EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature says.

    Attributes:
        key: The key it is of.
        subject: What the signer called the model.
        digests: SHA-256 by path of every file that was signed.
    """

    key: PublicKey
    subject: str
    digests: Mapping[str, str]


def verify_signature(data: bytes, keys: Iterable[PublicKey]) -> Signed:
    """Judge a signature by itself: whether one of the keys made it, and what it says.

    Args:
        data: The bytes of ``model.sig``.
        keys: Those that are trusted.

    Raises:
        IntegrityError: It is no such signature, not by one of the keys, or says more than a list of files.
        HostError: The package ``cryptography`` is missing.
    """
    try:
        table = parse_json(data, SIGNATURE_NAME, max_bytes=MAX_SIGNATURE_BYTES)
        fingerprint, payload, signature = _read_bundle(table)
        key = next((key for key in keys if key.fingerprint == fingerprint), None)
        if key is None:
            raise IntegrityError(
                f"{SIGNATURE_NAME}: is by the key {fingerprint}, which is not trusted here",
                hint="put the signer's public key into the folder of trusted keys, if you trust it",
            )
        _check(key.key, signature, pre_authentication_encoding(payload))
        # Only now is the payload somebody's word.
        subject, digests = _read_statement(parse_json(payload, f"{SIGNATURE_NAME}: payload"))
    except RecordError as error:
        raise IntegrityError(error.message, hint=error.hint or _HINT) from error
    return Signed(key, subject, digests)


def require_same(signed: Signed, bundle: Bundle) -> None:
    """Refuse a signature that is not over exactly the files of a bundle, its manifest included.

    Raises:
        IntegrityError: Naming the first file that differs.
    """
    own = {entry.path: entry.sha256 for entry in bundle.manifest.files} | {MANIFEST_NAME: bundle.manifest_sha256}
    for path in sorted(own.keys() | signed.digests.keys()):
        if own.get(path) != signed.digests.get(path):
            problem = "signs another" if path in own and path in signed.digests else "does not sign"
            problem = problem if path in own else "signs, and the bundle has not,"
            raise IntegrityError(f"{SIGNATURE_NAME}: is of another bundle: it {problem} {path}", hint=_HINT)


def pre_authentication_encoding(payload: bytes) -> bytes:
    """The bytes that DSSE signs; https://github.com/secure-systems-lab/dsse, ``protocol.md``."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def root_digest(digests: Iterable[str]) -> str:
    """The digest over digests that stands for a whole model (section 6.5.1)."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def hash_for(key: EllipticCurvePublicKey, name: str) -> HashAlgorithm:
    """The hash that goes with a key's curve.

    Raises:
        RecordError: The curve is none of :data:`CURVES`.
    """
    from cryptography.hazmat.primitives import hashes

    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if curve not in CURVES:
        raise RecordError(f"{name}: a key on {curve}", hint=f"expected an elliptic curve: {', '.join(CURVES)}")
    algorithm: HashAlgorithm = getattr(hashes, CURVES[curve])()
    return algorithm


def need_cryptography() -> None:
    """Say how to get the package, where it is missing.

    Raises:
        HostError: It cannot be imported.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise HostError("signatures need the package cryptography", hint="pip install 'edgekit[sign]'") from error


def _read_bundle(table: Table) -> tuple[str, bytes, bytes]:
    """Fingerprint of the key, payload, signature: all there is in a sigstore bundle of the key method."""
    table.string("mediaType", choices=(MEDIA_TYPE,))
    material, envelope = table.table("verificationMaterial"), table.table("dsseEnvelope")
    table.done()
    if "publicKey" not in material:
        found = ", ".join(name[:40] for name in material.names()[:4]) or "nothing"
        raise RecordError(
            f"{SIGNATURE_NAME}: is not of the key method: it holds {found}",
            hint="devices verify keys; `model_signing verify` judges certificates and sigstore",
        )
    fingerprint = _fingerprint(material.table("publicKey"))
    for name in ("tlogEntries", "timestampVerificationData"):
        if name in material and material.raw(name) not in ([], None, {}):
            raise material.error(name, "is nothing that the key method knows")
    material.done()
    envelope.string("payloadType", choices=(PAYLOAD_TYPE,))
    payload = _decoded(envelope, "payload", max_length=MAX_SIGNATURE_BYTES)
    signatures = list(envelope.tables("signatures", max_items=1))
    envelope.done()
    if not signatures:
        raise envelope.error("signatures", "expected one, found none")
    signature = _decoded(signatures[0], "sig", max_length=_MAX_SIGNATURE)
    if "keyid" in signatures[0] and signatures[0].raw("keyid") not in ("", None):
        raise signatures[0].error("keyid", "expected to be empty: the key is named in verificationMaterial")
    signatures[0].done()
    return fingerprint, payload, signature


def _fingerprint(table: Table) -> str:
    if "hint" in table:
        fingerprint = table.string("hint", max_length=64)
    else:  # written before model-signing 1.1: the key itself, which says no more than its name
        fingerprint = hashlib.sha256(_decoded(table, "rawBytes", max_length=4096)).hexdigest()
        if "keyDetails" in table:
            table.string("keyDetails", max_length=64)
    table.done()
    return fingerprint


def _check(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
    need_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        key.verify(signature, signed, ECDSA(hash_for(key, SIGNATURE_NAME)))
    except InvalidSignature as error:
        raise IntegrityError(f"{SIGNATURE_NAME}: does not match what it signs", hint=_HINT) from error


def _read_statement(table: Table) -> tuple[str, dict[str, str]]:
    table.string("_type", choices=(STATEMENT_TYPE,))
    table.string("predicateType", choices=(PREDICATE_TYPE,))
    subjects = list(table.tables("subject", max_items=1))
    predicate = table.table("predicate")
    table.done()
    digests: dict[str, str] = {}
    for resource in predicate.tables("resources", max_items=MAX_FILES + 1):
        name, digest = resource.string("name"), resource.string("digest", max_length=64)
        resource.string("algorithm", choices=("sha256",))
        if name in digests:
            raise resource.error("name", f"{name!r} is signed twice")
        digests[name] = _hexadecimal(resource, "digest", digest)
    _read_serialization(predicate.table("serialization"))
    predicate.done()
    if not digests or not subjects:
        raise table.error("subject" if digests else "predicate", "signs nothing")
    subject, whole = subjects[0].string("name"), subjects[0].table("digest")
    subjects[0].done()
    if whole.string("sha256") != root_digest(digests.values()):
        raise whole.error("sha256", "is not the digest over the digests of the files")
    whole.done()
    return subject, digests


def _read_serialization(table: Table) -> None:
    table.string("method", choices=("files",))
    table.string("hash_type", choices=("sha256",))
    if table.boolean("allow_symlinks"):
        raise table.error("allow_symlinks", "is true; a bundle holds no links, and a signature allows none")
    for path in table.strings("ignore_paths") if "ignore_paths" in table else ():
        if path not in IGNORABLE:
            raise table.error("ignore_paths", f"leaves out {path!r}; a signature is over every file of a bundle")
    table.done()


def _hexadecimal(table: Table, key: str, digest: str) -> str:
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise table.error(key, "expected 64 lower-case hexadecimal digits")
    return digest


def _decoded(table: Table, key: str, *, max_length: int) -> bytes:
    text = table.string(key, max_length=max_length)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise table.error(key, f"not base64: {error}") from error
    if base64.b64encode(data).decode() != text:  # bits behind the end that no reader looks at
        raise table.error(key, "not in base64's canonical form")
    return data


def statement(digests: Mapping[str, str], subject: str) -> dict[str, Any]:
    """The in-toto statement over files, for a signer.

    Args:
        digests: SHA-256 by path.
        subject: What to call the model.
    """
    in_order = sorted(digests.items())
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject, "digest": {"sha256": root_digest(digest for _, digest in in_order)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "resources": [{"name": path, "digest": digest, "algorithm": "sha256"} for path, digest in in_order],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted(IGNORABLE),
            },
        },
    }
