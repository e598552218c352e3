"""``edgekit push`` and ``edgekit pull``: bundles in registries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.packing import ReplaceFlag
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption

PlainHttpFlag = Annotated[
    bool, typer.Option("--plain-http", help="Talk without encryption to a registry that is not this machine.")
]


def push(
    context: typer.Context,
    bundle: BundleArgument,
    reference: Annotated[
        str, typer.Argument(metavar="oci://HOST/REPOSITORY:TAG", help="Where to.", show_default=False)
    ],
    *,
    plain_http: PlainHttpFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a bundle into an OCI registry, a layer for each file, its signature and bill of materials beside it."""
    from edgekit.bundle.reading import Bundle
    from edgekit.cli.render import plain
    from edgekit.registry.reference import Reference
    from edgekit.registry.transfer import push as push_bundle

    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = Reference.parse(reference)
    opened = Bundle.open(bundle)
    with bytes_bar(screen, "pushing") as advance:
        pushed = push_bundle(opened, place, plain_http=plain_http, progress=advance)
    if screen.json:
        screen.result(
            {
                "reference": str(place),
                "digest": pushed.digest,
                "size_bytes": pushed.size_bytes,
                "referrers": pushed.referrers,
            }
        )
    else:
        screen.show(plain(f"{place}: {len(opened.manifest.files) + 1} files as {pushed.digest}"))


def pull(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="oci://HOST/REPOSITORY:TAG", help="Where from.", show_default=False)
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to make.", show_default=False)
    ],
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    replace: ReplaceFlag = False,
    plain_http: PlainHttpFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Read a bundle from an OCI registry; an interrupted pull goes on, and nothing is left that does not verify."""
    from edgekit.bundle.trust import Trust
    from edgekit.cli.render import plain
    from edgekit.registry.reference import Reference
    from edgekit.registry.transfer import pull as pull_bundle

    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = Reference.parse(reference)
    policy = Trust.of(trust, allow_unsigned=allow_unsigned)
    with bytes_bar(screen, "pulling") as advance:
        bundle, standing = pull_bundle(
            place, output, policy=policy, replace=replace, plain_http=plain_http, progress=advance
        )
    if screen.json:
        screen.result(
            {
                "bundle": str(output),
                "manifest_sha256": bundle.manifest_sha256,
                "signature": {"state": standing.state, "key": standing.key, "fingerprint": standing.fingerprint},
            }
        )
    else:
        screen.show(plain(f"{output}: {len(bundle.manifest.files) + 1} files, every digest matches, {standing.state}"))
