"""``edgekit sign``, and the options by which other commands ask for signatures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.bundle.reading import Bundle

TrustOption = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        metavar="FOLDER",
        help="Public keys, one of which must have signed the bundle; EDGEKIT_TRUST otherwise.",
        show_default=False,
    ),
]
AllowUnsignedFlag = Annotated[
    bool, typer.Option("--allow-unsigned", help="Take a bundle without a signature; the result says so.")
]


def trusting(trust: Path | None, *, allow_unsigned: bool) -> dict[str, Any]:
    """What to pass to :func:`edgekit.runtime.load` besides, where it was asked for."""
    return ({"trust": trust} if trust else {}) | ({"allow_unsigned": True} if allow_unsigned else {})


def sign(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key in PEM form.", show_default=False)
    ] = None,
    password_variable: Annotated[
        str | None,
        typer.Option("--password-env", metavar="NAME", help="Environment variable with the key's password."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", metavar="FILE", help="Sign with this certificate of the key.", show_default=False
        ),
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option("--chain", metavar="FILE", help="A certificate between it and the root. May be given again."),
    ] = None,
    sigstore: Annotated[
        bool, typer.Option("--sigstore", help="Sign with an identity through sigstore, without a key.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a signature that is already there.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Verify a bundle and sign its list of files as OpenSSF Model Signing says; the signature goes into the bundle."""
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.signing import attach
    from edgekit.cli.render import plain

    screen = Screen.of(context, as_json=as_json, debug=debug)
    if bool(key) == sigstore:
        raise UsageError("sign with what?", hint="--key FILE, --key FILE --certificate FILE, or --sigstore")
    opened = Bundle.open(bundle)
    method = "sigstore" if sigstore else "certificate" if certificate else "key"
    with bytes_bar(screen, "reading") as advance:
        if key and not certificate:
            data, by = _with_key(opened, key, password_variable, advance)
        else:
            data, by = _otherwise(opened, key, certificate, chain or [])
    signed = attach(opened, data, replace=replace)
    if screen.json:
        screen.result({"bundle": str(bundle), "method": method, "by": by, "manifest_sha256": signed.manifest_sha256})
    else:
        files = len(signed.manifest.files) + 1
        screen.show(plain(f"{bundle}: {files} files signed with {method} {by}"))


def _with_key(bundle: Bundle, key: Path, password_variable: str | None, advance: Any) -> tuple[bytes, str]:
    from edgekit.bundle.signing import private_key, sign
    from edgekit.bundle.trust import fingerprint_of

    if password_variable and password_variable not in os.environ:
        raise UsageError(f"--password-env {password_variable}: there is no such environment variable")
    opened = private_key(key, os.environ.get(password_variable or "") or None)
    return sign(bundle, opened, advance), fingerprint_of(opened.public_key())


def _otherwise(bundle: Bundle, key: Path | None, certificate: Path | None, chain: list[Path]) -> tuple[bytes, str]:
    from edgekit.stages.sign import sign_with_certificate, sign_with_sigstore

    if key and certificate:
        return sign_with_certificate(bundle, key, certificate, chain), certificate.name
    return sign_with_sigstore(bundle), "identity"
