"""The report of a matrix: ``matrix.json`` for machines, ``matrix.md`` for people and a CI system's summary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.bundle.writing import output_error
from edgekit.matrix.cells import Cell
from edgekit.matrix.outcome import Failure, Outcome, exit_code

JSON: Final = "matrix.json"
MARKDOWN: Final = "matrix.md"
NOT_RUN: Final = "not run"
_SIGNS: Final = {"pass": "✅", "unproven": "❔", NOT_RUN: "⏸"}


@dataclass(frozen=True, slots=True)
class CellReport:
    """A cell and what came of it; None where the run was interrupted before."""

    cell: Cell
    outcome: Outcome | None

    @property
    def verdict(self) -> str:
        """``pass``, ``unproven``, the kind of the failure, or ``not run``."""
        return self.outcome.verdict if self.outcome else NOT_RUN

    @property
    def evidence(self) -> Path:
        """Where the evidence of a failure is, if it left any."""
        return self.cell.request.output.with_name(f"{self.cell.request.output.name}.evidence")

    @property
    def bundle(self) -> Path | None:
        """Where its bundle is; None where there is none."""
        return self.cell.request.output if self.outcome and not self.outcome.failure else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        spec = self.cell.spec
        return {
            "cell": spec.name,
            "model": spec.model.name,
            "target": spec.target.name,
            "recipe": spec.recipe.name,
            "bundle": str(self.bundle) if self.bundle else None,
            "cached": bool(self.outcome and self.outcome.cached),
            **(self.outcome.to_json() if self.outcome else {"verdict": NOT_RUN}),
        }


@dataclass(frozen=True, slots=True)
class MatrixReport:
    """All cells, in the order of the file.

    Attributes:
        cells: They.
        seconds: That the run took.
        damaged: Entries of the cache that were found damaged.
    """

    cells: tuple[CellReport, ...]
    seconds: float
    damaged: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where every cell is good; else that of the most severe failure."""
        return exit_code(one.outcome for one in self.cells if one.outcome)

    def count(self) -> dict[str, int]:
        """How many cells have each verdict, the good ones first."""
        found = [one.verdict for one in self.cells]
        order = ("pass", "unproven", *sorted(set(found) - {"pass", "unproven"}))
        return {verdict: found.count(verdict) for verdict in order if verdict in found}

    def failures(self) -> list[tuple[str, Failure]]:
        """Each failure once, with the name of the first cell that it ended and how many more there are."""
        alike: dict[tuple[str, str], list[tuple[str, Failure]]] = {}
        for one in self.cells:
            if one.outcome and (failure := one.outcome.failure):
                alike.setdefault((failure.kind, failure.message), []).append((one.cell.spec.name, failure))
        return [
            (f"{found[0][0]} and {len(found) - 1} more" if len(found) > 1 else found[0][0], found[0][1])
            for found in alike.values()
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema_version": "1.0",
            "exit_code": self.exit_code,
            "counts": self.count(),
            "cached": sum(bool(one.outcome and one.outcome.cached) for one in self.cells),
            "seconds": round(self.seconds, 1),
            "damaged_cache_entries": list(self.damaged),
            "cells": [one.to_json() for one in self.cells],
        }


def write(report: MatrixReport, folder: Path) -> None:
    """Write both files into a folder.

    Raises:
        OutputError: They cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
        (folder / MARKDOWN).write_text(markdown(report), encoding="utf-8")
    except OSError as error:
        raise output_error(folder, "the report cannot be written", error) from error


def markdown(report: MatrixReport) -> str:
    """The report in GitHub's Markdown: what failed first."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.count().items())
    lines = [f"## edgekit matrix: {counts}", "", *_table(report), ""]
    for name, failure in report.failures():
        hint = f" ({_cell(failure.hint)})" if failure.hint else ""
        lines.append(f"- {name}: **{failure.kind}**: {_cell(failure.message)}{hint}")
    return "\n".join(lines).rstrip() + "\n"


def _table(report: MatrixReport) -> Iterator[str]:
    yield "| | model | target | recipe | shipped | agreement | size | time | |"
    yield "|---|---|---|---|---|---:|---:|---:|---|"
    for one in report.cells:
        spec, outcome = one.cell.spec, one.outcome
        shipped = ", ".join(dict.fromkeys(variant.recipe for variant in outcome.shipped)) if outcome else ""
        cells = (
            _SIGNS.get(one.verdict, "❌"),
            spec.model.name,
            spec.target.name,
            spec.recipe.name,
            shipped or one.verdict,
            agreement(outcome),
            f"{outcome.size_bytes / 1e6:.1f} MB" if outcome and outcome.size_bytes else "",
            f"{outcome.seconds:.1f} s" if outcome else "",
            "from the cache" if outcome and outcome.cached else "",
        )
        yield "| " + " | ".join(map(_cell, cells)) + " |"


def agreement(outcome: Outcome | None) -> str:
    """The least of a bundle's variants; empty where none was measured."""
    found = [one.agreement for one in outcome.shipped if one.agreement is not None] if outcome else []
    return f"{min(found):.4f}" if found else ""


def _cell(text: str) -> str:
    # What a library said must not end the cell, open a tag or make a link.
    for letter in "\\`|<>[]":
        text = text.replace(letter, f"&#{ord(letter)};")
    return "".join(character if character.isprintable() else " " for character in text)
