"""``edgekit check``: is a bundle as good as the one before it? For people, and for a CI job."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.build_side import build_side
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import OutputError

WHAT, HOW, REPORTS = "What is checked besides", "How strict it is", "Reports"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def check(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    baseline: Annotated[Path, typer.Option(metavar="BUNDLE", help="The bundle to compare with.", show_default=False)],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Judge once more against the original: a name, folder or hub id.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Inputs for --reference.", show_default=False, rich_help_panel=WHAT),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Run the bundle there too. May be given again.", rich_help_panel=WHAT),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Time both bundles.", rich_help_panel=WHAT)
    ] = True,
    margin: Annotated[
        float,
        typer.Option(min=0.001, max=1.0, metavar="SHARE", help="Slower by this is alike.", rich_help_panel=HOW),
    ] = 0.05,
    size_margin: Annotated[
        float, typer.Option(min=0.0, metavar="SHARE", help="Larger by this is alike.", rich_help_panel=HOW)
    ] = 0.01,
    memory_margin: Annotated[
        float,
        typer.Option(min=0.0, metavar="SHARE", help="More memory by this is alike.", rich_help_panel=HOW),
    ] = 0.05,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="A change that is meant: model, recipe, size, graph or memory. May be given again.",
            rich_help_panel=HOW,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, metavar="S", help="Time for latency.", rich_help_panel=HOW)
    ] = 170.0,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads while timing.", rich_help_panel=HOW)] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the order of runs.", rich_help_panel=HOW)] = 1,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a JUnit report.", show_default=False, rich_help_panel=REPORTS),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Append a summary in Markdown; to ${STEP_SUMMARY} where that is set.",
            show_default=False,
            rich_help_panel=REPORTS,
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check a bundle against its baseline: files, graphs, memory, parity, answers, latency."""
    from edgekit.checks.check import CheckRequest
    from edgekit.checks.check import check as run
    from edgekit.checks.latency import Plan
    from edgekit.cli import check_reports, render_check
    from edgekit.cli.progress import StageList
    from edgekit.spec.progress import Silent

    screen = Screen.of(context, as_json=as_json, debug=debug)
    request = CheckRequest(
        new=bundle,
        old=baseline,
        reference=reference,
        data=data,
        targets=tuple(on or ()),
        accept=tuple(accept or ()),
        size_margin=size_margin,
        memory_margin=memory_margin,
        latency=Plan(margin=margin, limit_s=seconds, seed=seed, threads=threads) if latency else None,
    )
    with build_side("--reference"):
        if screen.json:
            report = run(request, Silent())
        else:
            with StageList(screen.console(stderr=True)).drawing() as progress:
                report = run(request, progress)
    if junit is not None:
        _write(junit, lambda path: path.write_bytes(check_reports.junit(report)))
    named = os.environ.get(STEP_SUMMARY)
    for path in filter(None, (summary, Path(named) if named else None)):
        _append(path, check_reports.summary(report))
    if screen.json:
        screen.result(report.to_json())
    else:
        screen.show(*render_check.report(report))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _append(path: Path, text: str) -> None:
    def append(path: Path) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)

    _write(path, append)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}", hint="name another file") from error
