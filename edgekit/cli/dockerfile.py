"""``edgekit dockerfile``: what a container image of a bundle is built from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.containers.estimate import Estimate

SHOWN = 8


def dockerfile(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    kind: Annotated[
        str,
        typer.Option(
            "--for", metavar="KIND", help="server, demo, aws-lambda, cloud-run or device.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder to make for `docker build`.", show_default=False
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="The image it is built on; a Python of Debian otherwise.", show_default=False
        ),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Install this wheel of edgekit, no release.", show_default=False),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Public keys that the image holds its bundle to.", show_default=False),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what the image will hold, and how large it will be.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a Dockerfile with everything it needs: the runtime and this bundle, and nothing else."""
    from edgekit.bundle.reading import Bundle
    from edgekit.cli.render import plain
    from edgekit.containers.context import BASE, Recipe, write_context
    from edgekit.containers.estimate import estimate as weigh

    screen = Screen.of(context, as_json=as_json, debug=debug)
    if output is None and not estimate:
        raise UsageError("where to?", hint="-o DIR writes it, --estimate says how large the image will be")
    opened, recipe = Bundle.open(bundle), Recipe(kind, base or BASE, wheel, trust)
    files = write_context(opened, recipe, output) if output else []
    weighed = weigh(opened, recipe) if estimate else None
    if screen.json:
        document = {"for": kind, "base": recipe.base, "folder": str(output) if output else None, "files": files}
        screen.result(document | ({"estimate": _document(weighed)} if weighed else {}))
        return
    if output:
        screen.show(plain(f"  {output}: {len(files)} files; docker build -t {opened.manifest.name} {output}"))
    if weighed:
        _show(weighed, recipe.base, screen)


def _document(weighed: Estimate) -> dict[str, object]:
    return {
        "base_mb": weighed.base_mb,
        "packages_mb": weighed.packages_mb,
        "compiled_mb": weighed.compiled_mb,
        "bundle_mb": weighed.bundle_mb,
        "missing": list(weighed.missing),
        "without_bundle_mb": weighed.without_bundle_mb,
    }


def _show(weighed: Estimate, base: str, screen: Screen) -> None:
    from edgekit.cli.render import heading, indented, plain, table

    listing = table("part", "MB", numbers=["MB"])
    listing.add_row(
        plain(f"{base}, roughly (not measured)"), "?" if weighed.base_mb is None else f"{weighed.base_mb:.0f}"
    )
    names = list(weighed.packages_mb)
    for name in names[:SHOWN]:
        listing.add_row(name, f"{weighed.packages_mb[name]:.1f}")
    if names[SHOWN:]:
        rest = sum(weighed.packages_mb[name] for name in names[SHOWN:])
        listing.add_row(f"and {len(names) - SHOWN} more packages", f"{rest:.1f}")
    listing.add_row("modules compiled in the build", f"{weighed.compiled_mb:.0f}")
    for name in weighed.missing:
        listing.add_row(plain(f"{name}: not installed here"), "?")
    listing.add_section()
    whole = weighed.without_bundle_mb
    listing.add_row("without the bundle", "?" if whole is None else f"{whole:.0f}")
    listing.add_row("the bundle", f"{weighed.bundle_mb:.1f}")
    screen.show(heading("The image, uncompressed"), indented(listing))
