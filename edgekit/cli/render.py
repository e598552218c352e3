"""The look of the command line: headings, tables, marks, sizes. Everything printed passes here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgekit.spec.parity import Check

VERDICT_STYLES = {"pass": "bold green", "fail": "bold red", "unproven": "bold yellow"}


class Mark:
    """A tick, a cross or a question mark that also prints where the encoding has no tick."""

    def __init__(self, passed: bool | None) -> None:  # noqa: FBT001 - Mark(check.passed) reads as it should
        self.passed = passed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the sign for the console's encoding."""
        signs = ("ok", "no", "?") if options.ascii_only else ("✓", "✗", "?")
        index = {True: 0, False: 1, None: 2}[self.passed]
        yield Text(signs[index], style=("bold green", "bold red", "bold yellow")[index])

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Two cells at most; rich would give it the whole line."""
        width = 2 if options.ascii_only and self.passed is not None else 1
        return Measurement(width, width)


def heading(text: str) -> Text:
    """The line above a table."""
    return Text(f"\n{text}", style="bold cyan")


def grid(rows: Iterable[tuple[str, str | Text]]) -> Padding:
    """Facts as aligned pairs; rows without a value are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, plain(value) if isinstance(value, str) else value)
    return Padding(table, (0, 0, 0, 2), expand=False)


def table(*columns: str, numbers: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    """An empty table.

    Args:
        columns: Headings, left to right.
        numbers: Headings of the columns that are aligned to the right.
        fold: Headings of the columns that give way when the terminal is narrow; others never wrap.
    """
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in numbers else "left",
            no_wrap=name not in fold,
            overflow="fold",
        )
    return made


def indented(made: Table) -> Padding:
    """A table under its heading."""
    return Padding(made, (0, 0, 0, 2), expand=False)


def plain(text: str) -> str:
    """One line of text that cannot steer a terminal: what is not printable becomes a blank or ``?``."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def shortened(text: str, width: int) -> str:
    """The text on one line, at most ``width`` characters, an ellipsis where it was cut."""
    line = plain(text)
    return line if len(line) <= width else f"{line[: width - 3]}..."


def verdict(name: str) -> Text:
    """A verdict in its colour."""
    return Text(name, style=VERDICT_STYLES.get(name, ""))


def size(count: int) -> str:
    """Bytes in decimal units, as disks and downloads are sold: ``22.9 MB``."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95 or unit == "GB":
            break
    return f"{value:.1f} {unit}"


def seconds(value: float) -> str:
    """A duration: ``0.3 s``, ``12.0 s``, ``2 min 05 s``."""
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def digits_for(check: Check) -> int:
    """Decimals that show the difference between a measurement and its bound."""
    return 6 if 0 < abs(1 - check.bound) < 1e-3 else 4


def bound(check: Check) -> str:
    """The bound with its direction, which the check's outcome tells unless the two are equal."""
    if check.measured == check.bound:
        return f"{check.bound:g}"
    at_least = (check.measured >= check.bound) == check.passed
    return f"{'>=' if at_least else '<='} {check.bound:g}"
