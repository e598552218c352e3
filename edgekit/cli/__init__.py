"""The command line. typer and rich live only here; everything it does is the library's."""

from edgekit.cli.boundary import main

__all__ = ["main"]
