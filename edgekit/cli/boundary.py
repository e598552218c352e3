"""The one place where errors end: each becomes a message, a hint and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile

import typer

from edgekit.cli.screen import ReaderGoneError, Screen, Settings
from edgekit.errors import EdgekitError, HostError, UsageError

INTERRUPTED = 128 + 2  # as a shell reports SIGINT
READER_GONE = 128 + 13  # as a shell reports SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; the process's own by default.

    Returns:
        The exit code: 0, or the one of the error's class in :mod:`edgekit.errors`, 130 when
        interrupted, 141 when the reader of the output went away.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings()
    _print_anything()
    try:
        return _run(arguments, settings)
    except EdgekitError as error:
        return _report(error, settings)
    except typer.TyperException as error:
        # Parsing stopped, perhaps before it came to these two.
        flags = set(takewhile(lambda word: word != "--", arguments))
        settings.json |= "--json" in flags
        settings.debug |= "--debug" in flags
        return _report(_usage_error(error), settings)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(settings)
    except ReaderGoneError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001 - the boundary; nothing above it would show a readable message
        return _report(_unexpected(error), settings)


def _run(arguments: list[str], settings: Settings) -> int:
    from edgekit.cli.app import app

    command = typer.main.get_command(app)
    code = command.main(args=arguments, prog_name="edgekit", standalone_mode=False, obj=settings)
    if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this code
        return _interrupted(settings)
    return code if isinstance(code, int) else 0


def _print_anything() -> None:
    # A text or path the console's encoding does not know is escaped, and is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(error: EdgekitError, settings: Settings) -> int:
    if settings.debug:
        traceback.print_exception(error.__cause__ if type(error) is EdgekitError else error)
    try:
        Screen(settings).error(error)
    except ReaderGoneError:
        return _reader_gone()
    return error.exit_code


def _usage_error(error: typer.TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context else "see `edgekit --help`"
    return UsageError(error.format_message().rstrip("."), hint=hint)


def _unexpected(error: Exception) -> EdgekitError:
    if isinstance(error, MemoryError):
        wrapped: EdgekitError = HostError("there is not enough memory", hint="free some, or ask for less at once")
    else:
        wrapped = EdgekitError(
            f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
            hint="nobody foresaw this; --debug shows the traceback to report it with",
        )
    wrapped.__cause__ = error
    return wrapped


def _interrupted(settings: Settings) -> int:
    if not settings.json:
        sys.stderr.write("interrupted\n")
    return INTERRUPTED


def _reader_gone() -> int:
    # Python flushes stdout once more at exit; let that go nowhere instead of failing there.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return READER_GONE
