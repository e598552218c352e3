"""``edgekit pack`` and ``edgekit unpack``: a bundle as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen

ReplaceFlag = Annotated[bool, typer.Option("--replace", help="Replace a bundle that is already there.")]


def pack(
    context: typer.Context,
    bundle: BundleArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; BUNDLE.edgekit otherwise."),
    ] = None,
    replace: ReplaceFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a bundle into one file that `tar` can list and extract, and that every command takes for a folder."""
    from edgekit.bundle import packing
    from edgekit.bundle.reading import Bundle
    from edgekit.cli.render import plain

    screen = Screen.of(context, as_json=as_json, debug=debug)
    opened = Bundle.open(bundle)
    file = output or opened.root.with_name(opened.root.name + ".edgekit")
    with bytes_bar(screen, "packing") as advance:
        packing.pack(opened, file, replace=replace, progress=advance)
    size_bytes = file.stat().st_size
    if screen.json:
        screen.result({"file": str(file), "size_bytes": size_bytes, "manifest_sha256": opened.manifest_sha256})
    else:
        screen.show(plain(f"{file}: {size_bytes} bytes, {len(opened.manifest.files)} files, every digest matches"))


def unpack(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed bundle.", show_default=False)],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to make.", show_default=False)
    ],
    replace: ReplaceFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write the files of a packed bundle into a folder; nothing is left there unless every digest matches."""
    from edgekit.bundle import packing
    from edgekit.bundle.reading import Bundle
    from edgekit.cli.render import plain

    screen = Screen.of(context, as_json=as_json, debug=debug)
    with bytes_bar(screen, "unpacking") as advance:
        opened = packing.unpack(Bundle.open(file), output, replace=replace, progress=advance)
    if screen.json:
        screen.result({"bundle": str(output), "manifest_sha256": opened.manifest_sha256})
    else:
        screen.show(plain(f"{output}: {len(opened.manifest.files)} files, every digest matches"))
