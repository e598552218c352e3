"""``edgekit push`` and ``edgekit pull``: bundles in registries and in the hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.packing import ReplaceFlag
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption

PlainHttpFlag = Annotated[
    bool, typer.Option("--plain-http", help="Talk without encryption to a registry that is not this machine.")
]


TokenOption = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Access token of the hub; HF_TOKEN or the saved one otherwise."),
]
ReferenceArgument = Annotated[
    str,
    typer.Argument(
        metavar="REFERENCE",
        help="oci://HOST/REPOSITORY:TAG of a registry, or hf://OWNER/NAME of the Hugging Face hub.",
        show_default=False,
    ),
]


def push(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    reference: ReferenceArgument,
    *,
    plain_http: PlainHttpFlag = False,
    token: TokenOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a bundle into an OCI registry, a layer for each file with signature and bill beside it, or into the hub."""
    from edgekit.bundle.reading import Bundle
    from edgekit.cli.render import plain

    screen = Screen.of(context, as_json=as_json, debug=debug)
    result: dict[str, Any]
    if reference.startswith("hf://"):
        from edgekit.registry import hub

        opened = Bundle.open(bundle)
        commit = hub.push(opened, hub.HubReference.parse(reference), token=token)
        result = {"reference": reference, "commit": commit}
    else:
        from edgekit.registry.reference import Reference
        from edgekit.registry.transfer import push as push_bundle

        place = Reference.parse(reference)
        opened = Bundle.open(bundle)
        with bytes_bar(screen, "pushing") as advance:
            pushed = push_bundle(opened, place, plain_http=plain_http, progress=advance)
        result = {"reference": str(place), **dataclasses.asdict(pushed)}
    if screen.json:
        screen.result(result)
    else:
        name = result.get("digest") or result["commit"]
        screen.show(plain(f"{reference}: {len(opened.manifest.files) + 1} files as {name}"))


def pull(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    reference: ReferenceArgument,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to make.", show_default=False)
    ],
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    replace: ReplaceFlag = False,
    plain_http: PlainHttpFlag = False,
    token: TokenOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Read a bundle from a registry or the hub; an interrupted pull goes on, and what does not verify is not left."""
    from edgekit.bundle.trust import Trust
    from edgekit.cli.render import plain

    screen = Screen.of(context, as_json=as_json, debug=debug)
    policy = Trust.of(trust, allow_unsigned=allow_unsigned)
    with bytes_bar(screen, "pulling") as advance:
        if reference.startswith("hf://"):
            from edgekit.registry import hub

            place = hub.HubReference.parse(reference)
            bundle, standing = hub.pull(place, output, policy=policy, replace=replace, token=token, progress=advance)
        else:
            from edgekit.registry.reference import Reference
            from edgekit.registry.transfer import pull as pull_bundle

            bundle, standing = pull_bundle(
                Reference.parse(reference),
                output,
                policy=policy,
                replace=replace,
                plain_http=plain_http,
                progress=advance,
            )
    if screen.json:
        screen.result(
            {
                "bundle": str(output),
                "manifest_sha256": bundle.manifest_sha256,
                "signature": dataclasses.asdict(standing),
            }
        )
    else:
        screen.show(plain(f"{output}: {len(bundle.manifest.files) + 1} files, every digest matches, {standing.state}"))
