"""Draws a build's progress: a live line with a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from edgekit.cli.render import Mark, plain, seconds

BAR_WIDTH = 24


@dataclass(slots=True)
class _Stage:
    name: str
    started: float
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)


class StageList:
    """A :class:`edgekit.spec.progress.Progress` that prints each stage with its time as it ends.

    Stages may nest; an inner one stands under the outer one, which ends later.

    Args:
        console: Where to print; standard error, so that results can be piped.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: list[_Stage] = []
        self._live: Live | None = None

    @contextmanager
    def drawing(self) -> Iterator[StageList]:
        """Draw while the block runs; outside a terminal nothing moves."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._moving, console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and print its tick, or its cross when it raises."""
        running = _Stage(plain(name), time.monotonic())
        self._running.append(running)
        passed = False
        try:
            yield
            passed = True
        finally:
            self._running.remove(running)
            self._print_end(running, passed=passed)

    def note(self, text: str) -> None:
        """Print a line under the stage it belongs to."""
        if self._running:
            self._running[-1].notes.append(plain(text))
        else:
            self._print_note(plain(text))

    def advance(self, done: int, total: int) -> None:
        """Move the bar of the present stage."""
        if self._running:
            self._running[-1].done, self._running[-1].total = done, total

    def _print_end(self, stage: _Stage, *, passed: bool) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=2)
        line.add_column(width=max(34 - 2 * len(self._running), len(stage.name)), no_wrap=True)
        line.add_column(justify="right", width=11, style="dim", no_wrap=True)
        line.add_row(Mark(passed), stage.name, seconds(time.monotonic() - stage.started))
        self._console.print(Padding(line, (0, 0, 0, 2 + 2 * len(self._running)), expand=False))
        for note in stage.notes:
            self._print_note(note)

    def _print_note(self, text: str) -> None:
        self._console.print(Padding(Text(text, style="dim"), (0, 0, 0, 5 + 2 * len(self._running)), expand=False))

    def _moving(self) -> RenderableType:
        return Group(*(self._moving_line(depth, stage) for depth, stage in enumerate(self._running)))

    def _moving_line(self, depth: int, stage: _Stage) -> RenderableType:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=2)
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, style="dim")
        line.add_column(no_wrap=True)
        elapsed = time.monotonic() - stage.started
        ascii_only = self._console.options.ascii_only
        line.add_row(_spinner(ascii_only=ascii_only), stage.name, seconds(elapsed), _bar(stage, ascii_only=ascii_only))
        return Padding(line, (0, 0, 0, 2 + 2 * depth))


def _spinner(*, ascii_only: bool) -> RenderableType:
    # Spinner measures time from its first drawing; a fresh one each time would stand still.
    spinner = Spinner("line" if ascii_only else "dots", style="cyan")
    spinner.start_time = 0.0
    return spinner


def _bar(stage: _Stage, *, ascii_only: bool) -> Text:
    if not stage.total:
        return Text("")
    filled = min(BAR_WIDTH, BAR_WIDTH * stage.done // stage.total)
    full, empty = ("#", "-") if ascii_only else ("━", "━")
    count = (f" {stage.done}/{stage.total}", "dim")
    return Text.assemble((full * filled, "cyan"), (empty * (BAR_WIDTH - filled), "dim"), count)
