"""Signing a bundle with a private key: OpenSSF Model Signing 1.0, key method."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle.packing import Progress, pack, written
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import (
    MEDIA_TYPE,
    PAYLOAD_TYPE,
    hash_for,
    need_cryptography,
    pre_authentication_encoding,
    statement,
)
from edgekit.bundle.trust import MAX_KEY_BYTES, fingerprint_of
from edgekit.errors import InputError, OutputError, RecordError
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm


def private_key(path: Path, password: str | None = None) -> EllipticCurvePrivateKey:
    """A private key in PEM form.

    Raises:
        InputError: It is none, is on another curve, or needs another password.
        HostError: The package ``cryptography`` is missing.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as stream:
            key = load_pem_private_key(stream.read(MAX_KEY_BYTES), password.encode() if password else None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise InputError(f"{path.name}: is no key on an elliptic curve", hint="make one as docs/signing.md says")
        hash_for(key.public_key(), path.name)
    except RecordError as error:
        raise InputError(error.message, hint=error.hint) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path.name}: is no private key in PEM form, or needs another password: {error}") from error
    return key


def sign(bundle: Bundle, key: EllipticCurvePrivateKey, progress: Progress | None = None) -> bytes:
    """The bytes of ``model.sig`` for a bundle, which is verified first.

    The same bundle and key give the same bytes where OpenSSL can (3.2 and newer).

    Raises:
        IntegrityError: The bundle is not what it lists.
    """
    bundle.verify(progress)
    digests = {entry.path: entry.sha256 for entry in bundle.manifest.files} | {MANIFEST_NAME: bundle.manifest_sha256}
    payload = json.dumps(statement(digests, bundle.manifest.name), sort_keys=True, ensure_ascii=False).encode()
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": fingerprint_of(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"sig": base64.b64encode(_signature(key, pre_authentication_encoding(payload))).decode(), "keyid": ""}
            ],
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def attach(bundle: Bundle, signature: bytes, *, replace: bool = False) -> Bundle:
    """Put a signature into a bundle, whole and durable, or not at all.

    Args:
        bundle: A folder, or a packed file, which is written anew.
        signature: The bytes of ``model.sig``.
        replace: Whether one that is there may be replaced.

    Returns:
        The bundle with it.

    Raises:
        OutputError: There is one already, or it cannot be written.
    """
    if bundle.signature_bytes() is not None and not replace:
        raise OutputError(f"{bundle.root}: is signed already", hint="ask for the signature to be replaced (--replace)")
    if bundle.root.is_dir():
        with written(bundle.root / SIGNATURE_NAME, aside=bundle.root.parent) as stream:
            stream.write(signature)
    else:
        pack(bundle, bundle.root, replace=True, signature=signature)
    return Bundle.open(bundle.root)


def _signature(key: EllipticCurvePrivateKey, data: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    algorithm: HashAlgorithm = hash_for(key.public_key(), SIGNATURE_NAME)
    try:
        return key.sign(data, ECDSA(algorithm, deterministic_signing=True))
    except UnsupportedAlgorithm:  # OpenSSL before 3.2
        return key.sign(data, ECDSA(algorithm))
