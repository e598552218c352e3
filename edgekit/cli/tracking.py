"""``--track``: an export or a matrix as runs of an MLflow server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.cli.matrix_progress import CellList
    from edgekit.matrix.report import CellReport, MatrixReport
    from edgekit.stages.request import BuildRequest
    from edgekit.tracking.server import Tracker

TRACKING = "Tracking"

TrackOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Log to this MLflow server; env takes MLFLOW_TRACKING_URI.",
        show_default=False,
        rich_help_panel=TRACKING,
    ),
]
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Of MLflow; MLFLOW_EXPERIMENT_NAME or edgekit otherwise.", rich_help_panel=TRACKING
    ),
]
LogBundleFlag = Annotated[
    bool, typer.Option("--log-bundle", help="Upload bundles, not only their evidence.", rich_help_panel=TRACKING)
]


def open_tracker(track: str | None, experiment: str | None, *, log_bundle: bool) -> Tracker | None:
    """The tracker that was asked for; None where none was.

    Raises:
        UsageError: mlflow is not installed, or MLFLOW_TRACKING_URI is not set.
        RegistryError: The server cannot be reached or refuses.
    """
    if track is None:
        return None
    from edgekit.tracking.server import Tracker

    return Tracker(track, experiment, log_bundle=log_bundle)


@contextmanager
def tracked_build(tracker: Tracker | None, request: BuildRequest) -> Iterator[None]:
    """Log the build in the block, also one that ends with an error.

    Raises:
        RegistryError: The build is done, and cannot be logged.
    """
    if tracker is None:
        yield
        return
    from edgekit.tracking import entries

    name, asked = request.output.name, _asked(request)
    try:
        yield
    except EdgekitError as error:
        evidence = request.output.with_name(f"{request.output.name}.evidence")
        try:
            tracker.log(entries.of_error(name, asked, error, evidence))
        except EdgekitError as untold:
            error.add_note(untold.message)  # the build's own error is the one to end with
        raise
    tracker.log(entries.of_bundle(name, asked, request.output))


class TrackedCells:
    """A :class:`edgekit.matrix.running.Watching` that logs each cell as a run inside the matrix's own.

    Where the server fails in the middle, the cells go on without it; :attr:`error` says so in the end.

    Args:
        shown: Told of everything too.
        tracker: Where to log.
        name: Of the matrix's run.
        cells: How many there are.
    """

    def __init__(self, shown: CellList, tracker: Tracker, name: str, cells: int) -> None:
        self.error: EdgekitError | None = None
        self._shown = shown
        self._tracker = tracker
        self._run = tracker.begin(name, {"cells": str(cells)}, {"edgekit.matrix": name})

    def running(self, names: Sequence[str], ended: int, total: int) -> None:
        """Pass it on."""
        self._shown.running(names, ended, total)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._shown.note(text)

    def ended(self, report: CellReport) -> None:
        """Pass it on, and log it."""
        self._shown.ended(report)
        if self.error is None:
            try:
                self._log(report)
            except EdgekitError as error:
                self.error = error
                self.note(f"the cells go on untracked: {error.message}")

    def finish(self, report: MatrixReport | None, files: Sequence[Path]) -> None:
        """End the matrix's run; without a report it was interrupted."""
        from edgekit.tracking.server import FAILED, FINISHED, KILLED

        if self.error is not None:
            return
        try:
            if report is None:
                self._tracker.end(self._run, KILLED)
                return
            good = sum(one.outcome is not None and one.outcome.failure is None for one in report.cells)
            metrics = {"good": good, "failed": len(report.cells) - good, "seconds": report.seconds}
            self._tracker.end(self._run, FAILED if report.exit_code else FINISHED, metrics, files)
        except EdgekitError as error:
            self.error = error

    def _log(self, report: CellReport) -> None:
        from edgekit.tracking import entries

        outcome, spec = report.outcome, report.cell.spec
        asked = {
            **_asked(report.cell.request),
            "cell.model": spec.model.name,
            "cell.target": spec.target.name,
            "cell.recipe": spec.recipe.name,
        }
        if outcome is None:
            return
        if outcome.failure:
            failure = outcome.failure
            entry = entries.of_failure(spec.name, asked, failure.kind, failure.message, report.evidence)
        else:
            entry = entries.of_bundle(spec.name, asked, report.cell.request.output, seconds=outcome.seconds)
        self._tracker.log(entry, parent=self._run)


def _asked(request: BuildRequest) -> Mapping[str, str]:
    """What a build was asked for, without what nobody asked for, and without the token."""
    asked = {
        "model": request.model,
        "asked.targets": ", ".join(request.targets),
        "asked.task": request.task,
        "asked.recipe": request.recipe,
        "asked.revision": request.revision,
        "optimize": request.optimize,
        "data": request.data.name if request.data else None,
        "allow_unproven": "true" if request.allow_unproven else None,
        **{f"budget.{name}": f"{bound:g}" for name, bound in request.budget.items()},
    }
    return {name: value for name, value in asked.items() if value is not None}
