"""Whose bundles are taken: a folder of public keys, and what is decided where there is no signature."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgekit.bundle.signature import PublicKey, hash_for, need_cryptography, require_same, verify_signature
from edgekit.errors import IntegrityError, RecordError, UsageError
from edgekit.spec.manifest import SIGNATURE_NAME

if TYPE_CHECKING:
    from edgekit.bundle.reading import Bundle

TRUST_VARIABLE: Final = "EDGEKIT_TRUST"
SUFFIXES: Final = (".pem", ".pub")
MAX_KEYS: Final = 256
MAX_KEY_BYTES: Final = 65536

UNCHECKED, UNSIGNED, SIGNED = "unchecked", "unsigned", "signed"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a bundle's maker.

    Attributes:
        state: ``signed`` by a trusted key; ``unsigned``, which was allowed; or ``unchecked``, since nobody asked.
        key: Name of the key's file in the folder of trusted keys, or empty.
        fingerprint: Of that key, or empty.
    """

    state: str
    key: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """A policy: the keys that are trusted, and whether a bundle without a signature is taken.

    Attributes:
        keys: As :func:`trusted_keys` reads them. Empty where nobody's signature is asked for.
        asked: Whether signatures are asked for at all.
        allow_unsigned: Whether a bundle without a signature passes. One with a bad signature never does.
    """

    keys: Sequence[PublicKey] = ()
    asked: bool = False
    allow_unsigned: bool = False

    @classmethod
    def of(cls, folder: str | os.PathLike[str] | None = None, *, allow_unsigned: bool = False) -> Trust:
        """The policy of a folder, or of :data:`TRUST_VARIABLE` where None; nothing is asked where neither is there.

        Raises:
            UsageError: The folder holds no usable key.
            HostError: The package ``cryptography`` is missing.
        """
        folder = folder or os.environ.get(TRUST_VARIABLE)
        if not folder:
            return cls(allow_unsigned=allow_unsigned)
        return cls(trusted_keys(Path(folder)), asked=True, allow_unsigned=allow_unsigned)

    def require(self, bundle: Bundle, *, min_release: int = 0) -> Standing:
        """Hold an open bundle against the policy. What is read of it afterwards is held to what was signed.

        Args:
            bundle: Its manifest is what the signature must be over; contents are compared with that when they are read.
            min_release: The least release counter that is taken: a signature does not grow old by itself.

        Raises:
            IntegrityError: There is no signature and that is not allowed, or there is one that is not good; or the
                bundle is an older release.
        """
        if bundle.manifest.release < min_release:
            raise IntegrityError(
                f"{bundle.manifest.name}: is release {bundle.manifest.release}, older than {min_release}",
                hint="get the newer release; a valid signature does not make an old one current",
            )
        if not self.asked:
            return Standing(UNCHECKED)
        data = bundle.signature_bytes()
        if data is None:
            if self.allow_unsigned:
                return Standing(UNSIGNED)
            raise IntegrityError(
                f"{bundle.root.name}: has no {SIGNATURE_NAME}, and trusted keys are asked for",
                hint="get a signed bundle, or allow unsigned ones explicitly (--allow-unsigned)",
            )
        signed = verify_signature(data, self.keys)
        require_same(signed, bundle)
        return Standing(SIGNED, signed.key.name, signed.key.fingerprint)


def trusted_keys(folder: Path) -> tuple[PublicKey, ...]:
    """The public keys in a folder: every file that ends in ``.pem`` or ``.pub``, each one key in PEM form.

    Raises:
        UsageError: The folder cannot be read or has no such file; a file is no public key on a curve of
            OpenSSF Model Signing, or is a private key.
        HostError: The package ``cryptography`` is missing.
    """
    need_cryptography()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
        contents = [(path.name, _head(path)) for path in files[: MAX_KEYS + 1]]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read as a folder of trusted keys: {error.strerror}") from error
    if not files or len(files) > MAX_KEYS:
        raise UsageError(
            f"{folder}: holds {len(files)} public keys, expected 1 to {MAX_KEYS}",
            hint=f"put the signer's public key there, in PEM form, in a file that ends in {' or '.join(SUFFIXES)}",
        )
    return tuple(public_key(data, name) for name, data in contents)


def public_key(data: bytes, name: str) -> PublicKey:
    """One public key in PEM form.

    Raises:
        UsageError: It is none.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if b"PRIVATE KEY" in data:
        raise UsageError(
            f"{name}: is a private key", hint="devices get public keys only; keep this one where it is safe"
        )
    try:
        key = serialization.load_pem_public_key(data)
    except Exception as error:
        raise UsageError(f"{name}: is no public key in PEM form", hint="see docs/signing.md") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise UsageError(f"{name}: is no key on an elliptic curve", hint="make one as docs/signing.md says")
    try:
        hash_for(key, name)
    except RecordError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return PublicKey(name, fingerprint_of(key), key)


def fingerprint_of(key: object) -> str:
    """How signatures name a public key: SHA-256 of its PEM form, in hexadecimal digits."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(key, EllipticCurvePublicKey):
        raise TypeError(type(key).__name__)
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_KEY_BYTES)
