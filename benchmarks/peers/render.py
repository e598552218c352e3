"""A result as Markdown tables that read as plain text too."""

from __future__ import annotations

import statistics as numbers
from collections.abc import Mapping, Sequence
from typing import Any

from .catalogue import BESIDE
from .statistics import Median, median, ratio

NONE = "-"
PEAKS = {"float32": "float32_gflops", "int8": "int8_gops"}


def render(result: Mapping[str, Any]) -> str:
    """Every table of a result."""
    parts = [_limits(result)]
    for model in result["models"].values():
        tables = _decoder(model) if model["of"] == "decoder" else _encoder(model, result["limits"])
        parts += [f"## {model['title']}", *tables, *_notes(model)]
    return "\n\n".join(part for part in parts if part)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand under each other; the first is flush left."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return (
            "| "
            + " | ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])
            + " |"
        )

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _limits(result: Mapping[str, Any]) -> str:
    found = result["limits"]
    versions = [
        f"- {name}: {', '.join(f'{package} {version}' for package, version in there.items())}"
        for name, there in result["versions"].items()
    ]
    sure = median([0.0] * result["replicates"]).coverage
    how = (
        f"{result['threads']} threads, {result['replicates']} fresh processes of each side taking turns; in brackets "
        f"an interval that holds the median with {sure:.0%}."
    )
    limit = (
        f"This CPU's limit, products of {found['size']}x{found['size']} through ONNX Runtime: float32 "
        f"{found['float32_gflops']:.0f} GFLOP/s, int8 {found['int8_gops']:.0f} GOP/s; reading memory "
        f"{found['read_gb_s']:.0f} GB/s."
    )
    return "\n".join([how, "", limit, "", *versions])


def _encoder(model: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    peers, shapes = model["peers"], list(model["operations"])
    what = next((row["quality"]["what"] for row in peers.values() if "quality" in row), "")
    head = ["", *(f"{shape} ms" for shape in shapes)]
    head += ["cosine", f"same {what}"] if what else []
    head += ["MB", "start s", "peak MB"]
    rows = []
    for name, row in peers.items():
        if "unavailable" in row:
            continue
        cells = [name, *(_interval(median(row["ms"][shape])) for shape in shapes)]
        cells += _quality(row.get("quality")) if what else []
        cells += [f"{row['size_bytes'] / 1e6:.1f}", f"{numbers.median(row['start_s']):.2f}"]
        rows.append([*cells, f"{numbers.median(row['peak_mb']):.0f}"])
    figures = {name: row["ms"] for name, row in peers.items() if "ms" in row and "unavailable" not in row}
    tables = [table(head, rows), *_ratios(peers, figures, shapes)]
    return [*tables, *_shares(model, limits, shapes)]


def _decoder(model: Mapping[str, Any]) -> list[str]:
    peers = {name: row for name, row in model["peers"].items() if "unavailable" not in row}
    figures = {
        name: {"prefill": row["prefill_ms"], "a token": [numbers.median(times) for times in row["token_ms"]]}
        for name, row in peers.items()
    }
    head = ["", "prefill tokens/s", "decode tokens/s", "ms a token", "MB", "load s", "peak MB"]
    rows = []
    for name, row in peers.items():
        speeds = [1e3 / took for took in figures[name]["a token"]]
        prompts = [128e3 / took for took in figures[name]["prefill"]]
        rows.append(
            [
                name,
                _interval(median(prompts)),
                _interval(median(speeds)),
                _interval(median(figures[name]["a token"])),
                f"{row['size_bytes'] / 1e6:.0f}",
                f"{numbers.median(row['load_s']):.2f}",
                f"{numbers.median(row['peak_mb']):.0f}",
            ]
        )
    return [table(head, rows), *_ratios(model["peers"], figures, ["prefill", "a token"])]


def _ratios(
    peers: Mapping[str, Any], figures: Mapping[str, Mapping[str, Sequence[float]]], shapes: Sequence[str]
) -> list[str]:
    """Time of edgekit over the peer's: as it ships, spinning as the peers' own defaults do, and with half in float."""
    rows = []
    for name, row in peers.items():
        if not row["ours"] or name not in figures:
            continue
        for ours in (row["ours"], *(row["ours"] + end for end in BESIDE)):
            if ours in figures and ours != name:
                cells = [_interval(ratio(figures[ours][shape], figures[name][shape])) for shape in shapes]
                rows.append([f"{ours} / {name}", *cells])
    heading = "edgekit's time over a peer's, pair by pair (below 1 edgekit is faster):\n\n"
    return [heading + table(["", *shapes], rows)] if rows else []


def _shares(model: Mapping[str, Any], limits: Mapping[str, Any], shapes: Sequence[str]) -> list[str]:
    operations = model["operations"]
    if any(operations[shape] is None for shape in shapes):
        return []
    rows = []
    for name, row in model["peers"].items():
        peak = limits.get(PEAKS.get(row["precision"], ""))
        if peak is None or "unavailable" in row:
            continue
        speeds = {shape: operations[shape] / (numbers.median(row["ms"][shape]) / 1e3) for shape in shapes}
        rows.append([name, *(f"{speed:.0f} ({speed / peak:.0%})" for speed in speeds.values())])
    heading = "Arithmetic in products, 1e9 operations a second, and its share of this CPU's limit:\n\n"
    return [heading + table(["", *shapes], rows)] if rows else []


def _notes(model: Mapping[str, Any]) -> list[str]:
    lines = [
        f"- {name}: {note}" for name, row in model["peers"].items() for note in dict.fromkeys(row.get("notes", []))
    ]
    lines += [
        f"- **{name}: no figures here.** {row['unavailable']}"
        for name, row in model["peers"].items()
        if "unavailable" in row
    ]
    return ["\n".join(lines)] if lines else []


def _quality(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return [NONE, NONE]
    return [f"{figures['cosine']:.5f}", f"{figures['agreement']:.4f} [{figures['low']:.3f}, {figures['high']:.3f}]"]


def _interval(found: Median) -> str:
    digits = 3 if found.value < 1 else 2 if found.value < 100 else 0
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
