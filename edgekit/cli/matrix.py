"""``edgekit matrix``: many bundles at once, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.build_side import build_side
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.tracking import ExperimentOption, LogBundleFlag, TrackOption, open_tracker
from edgekit.errors import EdgekitError, RecordError, UsageError
from edgekit.spec.matrix import Matrix
from edgekit.spec.reader import parse_toml
from edgekit.spec.user_folders import cache_folder

if TYPE_CHECKING:
    from edgekit.matrix.cells import Cell
    from edgekit.matrix.report import MatrixReport
    from edgekit.matrix.running import Means
    from edgekit.tracking.server import Tracker

WHERE, HOW = "Where it runs", "How much at once"
MAX_SPEC_BYTES = 1 << 20


class EngineName(StrEnum):
    """What runs the cells."""

    PROCESSES = "processes"
    RAY = "ray"


def matrix(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML file, see docs/matrix.md.", show_default=False)],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the bundles and the report.")
    ] = Path("bundles"),
    engine: Annotated[
        EngineName, typer.Option(help="Processes of this machine, or a Ray cluster.", rich_help_panel=WHERE)
    ] = EngineName.PROCESSES,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of the Ray cluster; RAY_ADDRESS, or one of this machine alone, otherwise.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of finished stages; in the user's cache otherwise.", rich_help_panel=WHERE),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes at once; one a core otherwise.", rich_help_panel=HOW),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of each; the cores shared out otherwise.", rich_help_panel=HOW),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="GB", help="Of all together; 80 % of what is free otherwise.", rich_help_panel=HOW
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, metavar="S", help="That one cell may take.", rich_help_panel=HOW)
    ] = 7200.0,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Access token of the hub; HF_TOKEN or the saved one otherwise."),
    ] = None,
    track: TrackOption = None,
    experiment: ExperimentOption = None,
    log_bundle: LogBundleFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Build and judge every combination of models, targets and recipes; nothing twice."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    if engine is not EngineName.RAY and address is not None:
        raise UsageError("--address is of a Ray cluster", hint="add --engine ray")
    read = _read(spec)
    tracker = open_tracker(track, experiment, log_bundle=log_bundle)
    with build_side("matrix"):
        from edgekit.matrix.cells import plan

        planned = plan(read, spec.resolve().parent, output, token)
        folder = cache or cache_folder(os.environ, sys.platform, Path.home()) / "matrix"
        if engine is EngineName.RAY:
            means = _on_ray(address, threads or 1, folder, output)
        else:
            means = _in_processes(planned, (workers, threads, memory, seconds), folder, output)
        report, untracked = _run(planned, means, screen, (tracker, spec.stem))
    if screen.json:
        screen.result(report.to_json() | ({"tracking_error": untracked.message} if untracked else {}))
    else:
        from edgekit.cli import render_matrix

        screen.show(*render_matrix.report(report, output))
        if untracked:
            screen.error(untracked)
    if code := report.exit_code or (untracked.exit_code if untracked else 0):
        raise typer.Exit(code)


def _read(spec: Path) -> Matrix:
    try:
        if spec.stat().st_size > MAX_SPEC_BYTES:
            raise RecordError(f"{spec}: larger than {MAX_SPEC_BYTES >> 20} MiB")
        text = spec.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{spec}: cannot be read: {error.strerror}", hint="name a TOML file, see docs/matrix.md"
        ) from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{spec}: not UTF-8 at byte {error.start}") from error
    return Matrix.read(parse_toml(text, str(spec)))


def _in_processes(
    planned: tuple[Cell, ...],
    asked: tuple[int | None, int | None, float | None, float],
    folder: Path,
    output: Path,
) -> Means:
    from edgekit.matrix import keys
    from edgekit.matrix.cache import Cache
    from edgekit.matrix.processes import Limits, Processes, default_memory_bytes
    from edgekit.matrix.running import Means
    from edgekit.runtime.host import usable_threads
    from edgekit.runtime.session import this_host

    workers, threads, memory, seconds = asked
    cores = usable_threads()
    workers = workers or max(1, min(cores, len(planned)) // (threads or 1))
    limits = Limits(
        workers=workers,
        threads=threads or max(1, cores // workers),
        memory_bytes=int(memory * 1e9) if memory is not None else default_memory_bytes(),
        seconds=seconds,
    )
    place = keys.this_place(this_host())
    cache = Cache(folder)
    return Means(lambda: Processes(limits, cache), lambda _: place, cache, output)


def _on_ray(address: str | None, threads: int, folder: Path, output: Path) -> Means:
    from edgekit.matrix import keys
    from edgekit.matrix.cache import Cache
    from edgekit.matrix.engine import Engine
    from edgekit.matrix.running import Means

    if importlib.util.find_spec("ray") is None:
        raise UsageError("--engine ray needs 'ray', which is not installed", hint="pip install 'edgekit[ray]'")
    cache = Cache(folder)

    def start() -> Engine:
        from edgekit.matrix.on_ray import RayCluster  # seconds, and only where something has to be done

        return RayCluster(address, threads, cache)

    return Means(start, keys.node_place, cache, output)


def _run(
    planned: tuple[Cell, ...], means: Means, screen: Screen, tracking: tuple[Tracker | None, str]
) -> tuple[MatrixReport, EdgekitError | None]:
    """The report, and why it could not be tracked, if it was to be."""
    from edgekit.cli.matrix_progress import CellList
    from edgekit.cli.tracking import TrackedCells
    from edgekit.matrix.report import JSON, MARKDOWN
    from edgekit.matrix.running import run

    shown = CellList(screen.console(stderr=True))
    tracker, name = tracking
    tracked = TrackedCells(shown, tracker, name, len(planned)) if tracker else None
    report = None
    try:
        with shown.drawing():
            report = run(planned, means, tracked or shown)
    except KeyboardInterrupt:
        shown.note("what is finished is kept: run it again to go on")
        raise
    finally:
        if tracked:
            tracked.finish(report, [means.output / JSON, means.output / MARKDOWN])
    return report, tracked.error if tracked else None
