"""A matrix on the terminal: a line for each cell, then what failed and what it all comes to."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from edgekit.cli.render import Mark, grid, heading, indented, plain, seconds, size, table
from edgekit.matrix.report import JSON, CellReport, MatrixReport, agreement


def report(found: MatrixReport, output: Path) -> list[RenderableType]:
    """Everything, what it comes to last."""
    listing = table(
        "", "model", "target", "recipe", "shipped", "agree", "size", "time",
        numbers=("agree", "size", "time"), fold=("model", "target", "recipe", "shipped"),
    )  # fmt: skip
    for one in found.cells:
        listing.add_row(*_row(one))
    cached = sum(bool(one.outcome and one.outcome.cached) for one in found.cells)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found.count().items())
    facts = [
        ("cells", f"{len(found.cells)}: {counts}"),
        ("from the cache", str(cached) if cached else ""),
        ("damaged", f"{len(found.damaged)} entries of the cache, made again" if found.damaged else ""),
        ("took", seconds(found.seconds)),
        ("report", str(output / JSON)),
        ("exit code", str(found.exit_code) if found.exit_code else ""),
    ]
    return [heading("Matrix"), indented(listing), *_failures(found), "", grid(facts)]


def _row(one: CellReport) -> tuple[RenderableType, ...]:
    spec, outcome = one.cell.spec, one.outcome
    shipped = dict.fromkeys(variant.recipe for variant in outcome.shipped) if outcome else {}
    taken = "cached" if outcome and outcome.cached else seconds(outcome.seconds) if outcome else ""
    return (
        Mark({"pass": True, "unproven": None}.get(one.verdict, False)) if outcome else "",
        plain(spec.model.name),
        plain(spec.target.name),
        plain(spec.recipe.name),
        plain(", ".join(shipped)) if shipped else Text(one.verdict, style="red" if outcome else "dim"),
        agreement(outcome),
        size(outcome.size_bytes) if outcome and outcome.size_bytes else "",
        taken,
    )


def _failures(found: MatrixReport) -> list[RenderableType]:
    alike: dict[tuple[str, str], list[CellReport]] = {}
    for one in found.cells:
        if one.outcome and one.outcome.failure:
            alike.setdefault((one.outcome.failure.kind, one.outcome.failure.message), []).append(one)
    parts: list[RenderableType] = []
    for (kind, message), cells in alike.items():
        hint = cells[0].outcome.failure.hint if cells[0].outcome and cells[0].outcome.failure else ""
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        said = (f"{cells[0].cell.spec.name}{more}", "bold"), "  ", (kind, "red"), f"  {plain(message)}"
        parts.append(Padding(Text.assemble(*said, (f"  ({plain(hint)})" if hint else "", "dim")), (0, 0, 0, 2)))
    return [heading("What failed"), *parts] if parts else []
