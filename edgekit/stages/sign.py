"""Sign with a certificate or with sigstore: the build side's two other methods, through ``model-signing`` itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import IGNORABLE
from edgekit.errors import ExportError, InputError, UsageError

if TYPE_CHECKING:
    from model_signing.signing import Config


def sign_with_certificate(bundle: Bundle, key: Path, certificate: Path, chain: Sequence[Path]) -> bytes:
    """The bytes of ``model.sig`` by a signing certificate.

    Args:
        bundle: A folder.
        key: The certificate's private key, in PEM form.
        certificate: The signing certificate, in PEM form.
        chain: Certificates between it and the root, in PEM form.

    Raises:
        IntegrityError: The bundle is not what it lists.
        UsageError: The bundle is a packed file, or the package ``model-signing`` is missing.
        InputError: Key or certificates cannot be used.
    """
    config = _config()
    try:
        config.use_certificate_signer(private_key=key, signing_certificate=certificate, certificate_chain=chain)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{certificate}: cannot sign with it and {key.name}: {error}") from error
    return _signed(bundle, config)


def sign_with_sigstore(bundle: Bundle, identity_token: str | None = None) -> bytes:
    """The bytes of ``model.sig`` by an identity, without a key: needs the network and opens a browser without a token.

    Raises:
        IntegrityError: The bundle is not what it lists.
        UsageError: The bundle is a packed file, or the package ``model-signing`` is missing.
        ExportError: Sigstore did not sign.
    """
    return _signed(bundle, _config().use_sigstore_signer(identity_token=identity_token))


def _config() -> Config:
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise UsageError(
            "certificates and sigstore need the package model-signing", hint="pip install 'edgekit[sigstore]'"
        ) from error
    ignored = hashing.Config().set_ignored_paths(paths=sorted(IGNORABLE), ignore_git_paths=False)
    return signing.Config().set_hashing_config(ignored)


def _signed(bundle: Bundle, config: Config) -> bytes:
    if not bundle.root.is_dir():
        raise UsageError(f"{bundle.root}: model-signing reads folders", hint="sign the folder, then pack it")
    bundle.verify()
    with TemporaryDirectory() as scratch:
        written = Path(scratch) / "model.sig"
        try:
            config.sign(bundle.root, written)
        except Exception as error:
            raise ExportError(f"model-signing did not sign: {error}") from error
        return written.read_bytes()
