"""Sign with a certificate or with sigstore: the build side's two other methods, through ``model-signing`` itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import IGNORABLE
from edgekit.errors import ExportError, InputError, UsageError

if TYPE_CHECKING:
    from model_signing.signing import Config

_NEEDS: Final = "it needs the network, and somebody who logs in or a CI job that has an identity; --key needs neither"


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
    config = _config(bundle)
    try:
        config.use_certificate_signer(private_key=key, signing_certificate=certificate, certificate_chain=chain)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{certificate}: cannot sign with it and {key.name}: {error}") from error
    return _signed(bundle, config)


def sign_with_sigstore(bundle: Bundle, identity_token: str | None = None) -> bytes:
    """The bytes of ``model.sig`` by an identity, without a key.

    It needs the network: the identity is the token's, else that of the CI job, else of who logs in with a browser.

    Args:
        bundle: A folder.
        identity_token: An OpenID Connect token, where there is one.

    Raises:
        IntegrityError: The bundle is not what it lists.
        UsageError: The bundle is a packed file, or the package ``model-signing`` is missing.
        ExportError: Sigstore did not sign.
    """
    config = _config(bundle)
    try:
        config.use_sigstore_signer(identity_token=identity_token, use_ambient_credentials=True)
    except Exception as error:
        raise _failure(error, "sigstore", _NEEDS) from error
    return _signed(bundle, config, "sigstore", _NEEDS)


def _config(bundle: Bundle) -> Config:
    if not bundle.root.is_dir():
        raise UsageError(f"{bundle.root}: model-signing reads folders", hint="sign the folder, then pack it")
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise UsageError(
            "certificates and sigstore need the package model-signing", hint="pip install 'edgekit[sigstore]'"
        ) from error
    ignored = hashing.Config().set_ignored_paths(paths=sorted(IGNORABLE), ignore_git_paths=False)
    return signing.Config().set_hashing_config(ignored)


def _signed(bundle: Bundle, config: Config, by: str = "model-signing", hint: str = "") -> bytes:
    bundle.verify()
    with TemporaryDirectory() as scratch:
        written = Path(scratch) / "model.sig"
        try:
            config.sign(bundle.root, written)
        except Exception as error:
            raise _failure(error, by, hint) from error
        return written.read_bytes()


def _failure(error: Exception, by: str, hint: str) -> ExportError:
    reasons = [str(error)]
    while (cause := error.__cause__) is not None and isinstance(cause, Exception):
        error = cause
        reasons.append(" ".join(str(error).split())[:200])
    return ExportError(f"{by} did not sign: {': '.join(reason for reason in reasons if reason)}", hint=hint)
