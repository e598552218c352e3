"""``edgekit demo``: a page in the browser that asks a bundle."""

from __future__ import annotations

from typing import Annotated

import typer

from edgekit.cli.installing import StoreOption
from edgekit.cli.run import OpenedArgument, ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption, trusting


def demo(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: OpenedArgument,
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to bind; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 takes a free one.")] = 7860,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    store: StoreOption = None,
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Serve a page that asks a bundle, with its parity beside the answers, until interrupted."""
    from edgekit.demo.opening import open_demo

    screen = Screen.of(context, as_json=as_json, debug=debug)
    asked = {"variant": variant, "threads": threads, "store": store} | trusting(trust, allow_unsigned=allow_unsigned)
    opened = open_demo(bundle, host, port, asked)
    if screen.json:
        screen.result({"url": opened.url, "bundle": opened.title})
    else:
        screen.show(f"  {opened.title}: {opened.url}", "  Ctrl+C ends it")
    try:
        opened.wait()
    finally:
        opened.close()
