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
    parts: list[RenderableType] = []
    for name, failure in found.failures():
        said = (name, "bold"), "  ", (failure.kind, "red"), f"  {plain(failure.message)}"
        hint = f"  ({plain(failure.hint)})" if failure.hint else ""
        parts.append(Padding(Text.assemble(*said, (hint, "dim")), (0, 0, 0, 2)))
    return [heading("What failed"), *parts] if parts else []
