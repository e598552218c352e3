"""``edgekit serve``: bundles behind HTTP."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgekit.cli.installing import StoreOption
from edgekit.cli.run import ThreadsOption, VariantOption, opened
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption, trusting
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.serve.served import Wanted

LIMITS, PACE = "Limits", "Pace"
INSTALL = "pip install 'edgekit[serve]'"
# How long a thread with an answer waits for the one that reads requests; Python's own is ten times that.
SWITCH_S: Final = 0.0005


def serve(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]BUNDLE...",
            help="Bundles: folders, packed files or installed names, each with the name that requests call it by.",
            show_default=False,
        ),
    ],
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Where to listen; 0 finds a free one.")
    ] = 8000,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TASK",
            help="Use a bundle for another task, such as summaries=summarization. May be given again.",
            show_default=False,
        ),
    ] = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="Calls of a bundle at a time, with --threads each; measured at the start otherwise.",
            show_default=False,
            rich_help_panel=PACE,
        ),
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Inputs of several requests that share a call; measured at the start otherwise.",
            show_default=False,
            rich_help_panel=PACE,
        ),
    ] = None,
    batch_wait_ms: Annotated[
        float,
        typer.Option(
            min=0, max=1000, metavar="MS", help="How long a request may wait for others.", rich_help_panel=PACE
        ),
    ] = 0.0,
    queue_s: Annotated[
        float,
        typer.Option(min=0.01, metavar="S", help="How long a request may wait for its turn.", rich_help_panel=PACE),
    ] = 30.0,
    grace_s: Annotated[
        float,
        typer.Option(
            min=1, metavar="S", help="How long requests may take to end once it is stopped.", rich_help_panel=PACE
        ),
    ] = 30.0,
    max_body_mb: Annotated[
        float, typer.Option(min=0.001, metavar="MB", help="MiB of a request.", rich_help_panel=LIMITS)
    ] = 16.0,
    max_inputs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs of the model for a request.", rich_help_panel=LIMITS)
    ] = 64,
    max_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tokens of a text.", rich_help_panel=LIMITS)
    ] = 8192,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tokens written for an input.", rich_help_panel=LIMITS)
    ] = 1024,
    max_concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests at a time.", rich_help_panel=LIMITS)
    ] = 256,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="Write a line for each request.")
    ] = True,
    store: StoreOption = None,
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Answer over HTTP until SIGTERM or ^C; the log on standard output is JSON lines."""
    Screen.of(context, as_json=as_json, debug=debug)
    _need_extra()
    from edgekit.serve.app import service
    from edgekit.serve.limits import MIB, Limits
    from edgekit.serve.observing import Metrics, log
    from edgekit.serve.served import Pace, open_all
    from edgekit.serve.server import bind, logging_to, run

    limits = Limits(
        body_bytes=round(max_body_mb * MIB),
        inputs=max_inputs,
        tokens=max_tokens,
        new_tokens=max_new_tokens,
        in_flight=max_concurrency,
        queue_s=queue_s,
    )
    chosen: dict[str, Any] = {"variant": variant, "threads": threads, "store": store}
    chosen |= trusting(trust, allow_unsigned=allow_unsigned)

    pace = Pace(calls, max_batch, batch_wait_ms / 1e3, queue_s)
    metrics = Metrics()
    with logging_to(sys.stdout), bind(host, port) as listening:
        listening_service = service(
            open_all(
                _wanted(bundles, task or []),
                lambda wanted: opened(wanted.path, wanted.task, **chosen),
                pace,
                metrics.called,
            ),
            limits,
            metrics,
            access_log=access_log,
        )
        for one in listening_service.served:
            gained: dict[str, Any] = (
                {"batch_gain": one.gain.by_size, "alone_from_characters": one.gain.alone_from} if one.gain else {}
            )
            log("bundle", **one.document(), **gained)
        _give_the_process_to_the_service()
        run(listening_service, listening, grace_s=grace_s)


def _give_the_process_to_the_service() -> None:
    """What holds for all of a process, and is this command's to set, since nothing else runs in its process."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what was made until now stays: the collector need not look through it while requests wait


def _wanted(bundles: list[str], tasks: list[str]) -> list[Wanted]:
    """The bundles, each with the task it is used for."""
    from edgekit.serve.served import Wanted

    wanted = [Wanted.of(text) for text in bundles]
    for text in tasks:
        name, _, task = text.rpartition("=")
        place = next(
            (index for index, one in enumerate(wanted) if name and name in (one.name, Path(one.path).name)), None
        )
        if place is None and (name or len(wanted) > 1):
            raise UsageError(f"--task {text!r}: no bundle is called {name!r}", hint="NAME=BUNDLE gives it a name")
        one = wanted[place or 0]
        wanted[place or 0] = Wanted(one.path, one.name, task)
    return wanted


def _need_extra() -> None:
    """Say what to install where the service's libraries are missing.

    Raises:
        UsageError: One is missing.
    """
    try:
        importlib.import_module("edgekit.serve.server")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "edgekit":
            raise
        raise UsageError(f"serving needs {missing!r}, which is not installed", hint=INSTALL) from error
