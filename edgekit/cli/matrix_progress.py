"""Draws a running matrix: a line for each cell that ended, and on a terminal what is being done now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgekit.cli.render import Mark, plain, seconds, shortened
from edgekit.matrix.report import CellReport

_NAME_WIDTH = 44
_REASON_WIDTH = 72


class CellList:
    """A :class:`edgekit.matrix.running.Watching` that prints.

    Args:
        console: Where to print; standard error, so that results can be piped.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._names: tuple[str, ...] = ()
        self._counts = (0, 0)
        self._since: dict[str, float] = {}

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw while the block runs; outside a terminal nothing moves."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._moving, console=self._console, refresh_per_second=4, transient=True):
            yield

    def running(self, names: Sequence[str], ended: int, total: int) -> None:
        """Keep what the moving lines show."""
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in names}
        self._counts = (ended, total)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(Padding(Text(plain(text), style="dim"), (0, 0, 0, 5), expand=False))

    def ended(self, report: CellReport) -> None:
        """Print a cell's line, and why it failed."""
        outcome = report.outcome
        if outcome is None:
            return
        line = Table.grid(padding=(0, 1))
        line.add_column(width=2)
        line.add_column(min_width=_NAME_WIDTH, no_wrap=True)
        line.add_column(justify="right", width=11, style="dim", no_wrap=True)
        mark = Mark({"pass": True, "unproven": None}.get(report.verdict, False))
        line.add_row(mark, plain(report.cell.spec.name), "cached" if outcome.cached else seconds(outcome.seconds))
        self._console.print(Padding(line, (0, 0, 0, 2), expand=False))
        if outcome.failure and not outcome.cached:
            self.note(shortened(f"{outcome.failure.kind}: {outcome.failure.message}", _REASON_WIDTH))

    def _moving(self) -> RenderableType:
        ended, total = self._counts
        now = time.monotonic()
        lines = [
            Text(f"     {shortened(name, 60)}  {seconds(now - since)}", style="cyan")
            for name, since in self._since.items()
        ]
        return Group(*lines, Text(f"     {ended} of {total} cells", style="dim")) if total else Group(*lines)
