"""The commands of ``edgekit``, one function each, gathered in one typer application."""

from __future__ import annotations

from typing import Annotated

import typer

import edgekit
from edgekit.cli.bench import bench
from edgekit.cli.check import check
from edgekit.cli.demo import demo
from edgekit.cli.distribution import pull, push
from edgekit.cli.dockerfile import dockerfile
from edgekit.cli.export import export
from edgekit.cli.inspection import inspect
from edgekit.cli.installing import activate, install, rollback
from edgekit.cli.matrix import matrix
from edgekit.cli.packing import pack, unpack
from edgekit.cli.records import models, targets
from edgekit.cli.report import report
from edgekit.cli.run import run
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.serve import serve
from edgekit.cli.signing import sign
from edgekit.cli.store import fsck, gc, list_installed
from edgekit.cli.verify import verify

MAKE, USE, SHIP, KNOW = "Make a bundle", "Use a bundle", "Ship a bundle", "What edgekit knows"
DEVICE = "On a device"

app = typer.Typer(
    name="edgekit",
    help="Export a transformer once, prove it everywhere.",
    epilog="Exit codes: 0 ok, 2 usage, 3 input, 4 export, 5 parity, 6 budget, 7 integrity, 8 host, 9 inconclusive.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # errors end in edgekit.cli.boundary
)

app.command(rich_help_panel=MAKE, short_help="Make a bundle, and prove it.")(export)
app.command(rich_help_panel=MAKE, short_help="Make many bundles at once.")(matrix)
app.command(rich_help_panel=USE, short_help="Show what a bundle is and what was proved.")(inspect)
app.command(rich_help_panel=USE, short_help="Ask a bundle, as a device would.")(run)
app.command(rich_help_panel=USE, short_help="Answer over HTTP with one bundle or several.")(serve)
app.command(rich_help_panel=USE, short_help="Time a bundle, alone or against another.")(bench)
app.command(rich_help_panel=USE, short_help="Check a bundle's files and answers on this machine.")(verify)
app.command(rich_help_panel=USE, short_help="Check a bundle against the one before it; for CI.")(check)
app.command(rich_help_panel=USE, short_help="Make a page about a bundle to look at before it ships.")(report)
app.command(rich_help_panel=USE, short_help="Serve a page that asks a bundle, for a browser.")(demo)
app.command(rich_help_panel=SHIP, short_help="Sign a bundle.")(sign)
app.command(rich_help_panel=SHIP, short_help="Write a bundle into one file.")(pack)
app.command(rich_help_panel=SHIP, short_help="Write a packed bundle's files into a folder.")(unpack)
app.command(rich_help_panel=SHIP, short_help="Write a bundle into a registry.")(push)
app.command(rich_help_panel=SHIP, short_help="Read a bundle from a registry.")(pull)
app.command(rich_help_panel=SHIP, short_help="Write what a container image of a bundle is built from.")(dockerfile)
app.command(rich_help_panel=DEVICE, short_help="Install a bundle, test it, and make it active.")(install)
app.command("list", rich_help_panel=DEVICE, short_help="List what is installed.")(list_installed)
app.command(rich_help_panel=DEVICE, short_help="Make an installed version active.")(activate)
app.command(rich_help_panel=DEVICE, short_help="Go back to the version before.")(rollback)
app.command(rich_help_panel=DEVICE, short_help="Remove versions that nothing uses.")(gc)
app.command(rich_help_panel=DEVICE, short_help="Check every byte that is installed.")(fsck)
app.command(rich_help_panel=KNOW, short_help="List classes of devices.")(targets)
app.command(rich_help_panel=KNOW, short_help="List models with a short name.")(models)


@app.callback(invoke_without_command=True)
def edgekit_command(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export a transformer once, prove it everywhere."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    if version:
        if screen.json:
            screen.result({"version": edgekit.__version__})
        else:
            typer.echo(f"edgekit {edgekit.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
