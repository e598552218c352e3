"""Results on disk and as a page: benchmarks/results/matrix.json and docs/architectures.md."""

from __future__ import annotations

import importlib.metadata
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.matrix.judge import BOUND

Results = dict[tuple[str, str], dict[str, Any]]
_PACKAGES: Final = ("torch", "transformers", "onnxruntime", "onnxscript")
# Best first: a type is as good as its worst task.
_WORDS: Final = ("right", "unproven", "wrong", "cannot")
_GROUPS: Final[Mapping[str, str]] = {
    "text-encoder": "Text encoders",
    "text-decoder": "Text decoders",
    "encoder-decoder": "Encoder-decoders",
    "vision": "Vision",
    "audio": "Audio",
    "multimodal": "Multimodal",
}


def load(path: Path) -> Results:
    """What an earlier run found, by type and task; empty where there is none."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["results"]
    return {(result["type"], result["task"]): result for result in found}


def save(results: Results, path: Path) -> None:
    """Write everything again, sorted: a run that is stopped loses one row at most."""
    record = {"versions": _versions(), "results": [results[key] for key in sorted(results)]}
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def line(result: Mapping[str, Any]) -> str:
    """One result for the terminal."""
    end = result["reason"] or f"{result['relative']:.0e}"
    return f"{result['result']:9}{result['type']} ({result['task']}), {result['whole_seconds']:.0f} s: {end}"


def summary(results: Results) -> str:
    """Counts of types, for the terminal and the top of the page."""
    words = Counter(_word(rows) for rows in _by_type(results).values())
    return f"{words.total()} types: " + ", ".join(f"{words[word]} {word}" for word in _WORDS if words[word])


def page(results: Results, untried: Sequence[str] = ()) -> str:
    """docs/architectures.md, without a date: the same results give the same page.

    Args:
        results: By type and task.
        untried: Types of the table without a result.
    """
    types = _by_type(results)
    times = [row["cpu_seconds"] for row in results.values() if "cpu_seconds" in row]
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    lines = [
        "# Architectures",
        "",
        "Which architectures edgekit exports, proved on a tiny random model of each. Written by `make matrix`.",
        "",
        "Every model is exported once, then compared with the unpatched float32 model in PyTorch at three shapes",
        "(where it takes more than one) and batches of 1 and 3, with padding. Models that generate also decode twenty",
        "steps with a past, and the logits of every step are compared. **right** means: no output is off by more than",
        f"{BOUND:.0e} of its largest value, and outputs depend on inputs. Weights are random, drawn so that they do:",
        "this proves the graph, not the quality of a checkpoint, and says nothing of int8. Seconds are those of one",
        "CPU thread, for the export alone.",
        "",
        f"Versions: {versions}.",
        "",
        f"**{summary(results)}.**" + (f" Median of an export: {statistics.median(times):.0f} s." if times else ""),
        "",
        "| | types | right | unproven | wrong | cannot |",
        "|---|---|---|---|---|---|",
    ]
    for group, title in _GROUPS.items():
        words = Counter(_word(rows) for rows in types.values() if rows[0]["modality"] == group)
        lines.append(f"| {title} | {words.total()} | " + " | ".join(str(words[word]) for word in _WORDS) + " |")
    for group, title in _GROUPS.items():
        lines += ["", f"## {title}", "", "| architecture | tasks | result | largest relative error | export, s |"]
        lines.append("|---|---|---|---|---|")
        lines += [_row(name, rows) for name, rows in types.items() if rows[0]["modality"] == group]
    failed = [row for rows in types.values() for row in rows if row["result"] != "right"]
    if failed:
        lines += ["", "## What is not right, and why", ""]
        lines += [f"- **{row['type']}** ({row['task']}), {row['result']}: {_escaped(row['reason'])}" for row in failed]
    if untried:
        lines += ["", "## In the table, not run yet", "", ", ".join(f"`{name}`" for name in sorted(untried))]
    return "\n".join(lines) + "\n"


def _row(name: str, rows: list[dict[str, Any]]) -> str:
    errors = [row["relative"] for row in rows if row.get("relative") is not None and row["result"] == "right"]
    seconds = [row["cpu_seconds"] for row in rows if "cpu_seconds" in row]
    cells = (
        f"`{name}`",
        ", ".join(row["task"] if row["result"] == "right" else f"{row['task']} ({row['result']})" for row in rows),
        _word(rows),
        f"{max(errors):.0e}" if errors else "",
        f"{max(seconds):.0f}" if seconds else "",
    )
    return f"| {' | '.join(cells)} |"


def _word(rows: list[dict[str, Any]]) -> str:
    return max((row["result"] for row in rows), key=_WORDS.index)


def _by_type(results: Results) -> dict[str, list[dict[str, Any]]]:
    types: dict[str, list[dict[str, Any]]] = {}
    for name, task in sorted(results):
        types.setdefault(name, []).append(results[name, task])
    return types


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name).split("+")[0] for name in _PACKAGES}
