"""A bar for work that is counted in bytes, on standard error of a terminal and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgekit.cli.screen import Screen


@contextmanager
def bytes_bar(screen: Screen, verb: str) -> Iterator[Callable[[int, int], None]]:
    """What is called with (bytes done, bytes in all) and shows them."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    bar = Progress(
        TextColumn(f"   {verb}"),
        BarColumn(24),
        DownloadColumn(),
        console=screen.console(stderr=True),
        transient=True,
        disable=screen.json or not screen.console(stderr=True).is_terminal,
    )
    with bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
