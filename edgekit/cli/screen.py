"""Where output goes: tables and words for people, or one JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.errors import EdgekitError

if TYPE_CHECKING:  # rich takes a tenth of a second; --help and --version do without it here
    from rich.console import Console, RenderableType

# A log has no width of its own; tables in it should not fold.
WIDTH_WITHOUT_TERMINAL = 120

JsonFlag = Annotated[
    bool,
    typer.Option("--json", help="Print the result, or the error, as one JSON object.", rich_help_panel="Everywhere"),
]
DebugFlag = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Everywhere")
]


class ReaderGoneError(Exception):
    """The program that read our output has closed its end."""


@dataclass(slots=True)
class Settings:
    """What was asked of every command alike; parsing fills it, the error boundary reads it."""

    json: bool = False
    debug: bool = False


class Screen:
    """Standard output and standard error of one command.

    Args:
        settings: Whether people or machines read.
    """

    def __init__(self, settings: Settings) -> None:
        self.json = settings.json
        self.debug = settings.debug

    @classmethod
    def of(cls, context: typer.Context, *, as_json: bool, debug: bool) -> Screen:
        """The screen of a command, which may be given the flags before or after its name."""
        settings = context.ensure_object(Settings)
        settings.json |= as_json
        settings.debug |= debug
        return cls(settings)

    def show(self, *parts: RenderableType) -> None:
        """Print for people, on standard output.

        Raises:
            ReaderGoneError: Nobody reads any more.
        """
        console = self.console()
        for part in parts:
            console.print(part)

    def result(self, document: Mapping[str, Any]) -> None:
        """Print for machines, on standard output: one object on one line.

        Raises:
            ReaderGoneError: Nobody reads any more.
        """
        # ASCII, so that no locale of the reader's can spoil it.
        self._write(json.dumps(document, allow_nan=False) + "\n")

    def stream(self, pieces: Iterable[str]) -> None:
        """Print text for people as it comes, and a line's end behind it.

        Raises:
            ReaderGoneError: Nobody reads any more.
        """
        encoding = sys.stdout.encoding or "utf-8"
        for piece in pieces:
            # What a model writes must not steer the terminal, nor fail on one that lacks its letters.
            shown = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in piece)
            self._write(shown.encode(encoding, "replace").decode(encoding))
        self._write("\n")

    def error(self, error: EdgekitError) -> None:
        """Print an error: JSON on standard output, or a message on standard error."""
        if self.json:
            self.result(
                {
                    "error": {
                        "kind": error.kind,
                        "message": error.message,
                        "hint": error.hint,
                        "exit_code": error.exit_code,
                    }
                }
            )
            return
        from rich.text import Text

        from edgekit.cli.render import plain

        console = self.console(stderr=True)
        message = Text.assemble((f"error[{error.kind}]", "bold red"), ": ", plain(error.message))
        console.print(message, soft_wrap=not console.is_terminal)
        if error.hint:
            console.print(
                Text.assemble(("hint", "bold cyan"), ": ", plain(error.hint)), soft_wrap=not console.is_terminal
            )

    def console(self, *, stderr: bool = False) -> Console:
        """A rich console that prints what it is given literally: no markup, no emoji, no guessing."""
        from rich.console import Console

        class Pipe(Console):
            def on_broken_pipe(self) -> None:
                raise ReaderGoneError

        console = Pipe(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not console.is_terminal and "COLUMNS" not in console._environ:  # noqa: SLF001
            console.width = WIDTH_WITHOUT_TERMINAL
        return console

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderGoneError from None
