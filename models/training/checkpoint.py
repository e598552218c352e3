"""What a trained model's folder holds beside the weights: evaluation files and a card of measured facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

EVALUATION: Final = "evaluation.jsonl"
CALIBRATION: Final = "calibration.jsonl"
FACTS: Final = "training.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trainer found out about its model.

    Attributes:
        metric: What was measured on held-out examples, such as ``accuracy``.
        value: How much.
        baselines: The same metric of answers nobody had to train, by what they are; training fails below them.
        higher_is_better: False for perplexity.
        examples: Number of examples by part: training, calibration, evaluation.
        about: For the card: task, data, how it was held out, what the model is no use for.
        samples: Some held-out (input, label, answer), as text.
        comparisons: Further answers nobody had to train, shown beside the model and allowed to be better.
    """

    metric: str
    value: float
    baselines: Mapping[str, float]
    higher_is_better: bool
    examples: Mapping[str, int]
    about: str
    samples: tuple[tuple[str, str, str], ...] = ()
    comparisons: Mapping[str, float] = field(default_factory=dict)

    def better_than_baselines(self) -> bool:
        """Whether training was worth it."""
        return all((self.value > other) == self.higher_is_better for other in self.baselines.values())


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    lines = (json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_facts(folder: Path, name: str, task: str, measured: Measured, made: Mapping[str, Any]) -> None:
    """Write ``training.json`` and, from the same facts, ``README.md``.

    Args:
        folder: The checkpoint.
        name: The model's short name.
        task: Hugging Face task name.
        measured: What the trainer returned.
        made: Seed, seconds, versions and parameters, for people and machines.
    """
    facts = {
        "name": name,
        "task": task,
        "metric": measured.metric,
        "value": round(measured.value, 4),
        "baselines": {label: round(value, 4) for label, value in measured.baselines.items()},
        "comparisons": {label: round(value, 4) for label, value in measured.comparisons.items()},
        "examples": dict(measured.examples),
        **made,
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8", newline="\n")
    (folder / "README.md").write_text(_card(name, task, measured, made), encoding="utf-8", newline="\n")


def _card(name: str, task: str, measured: Measured, made: Mapping[str, Any]) -> str:
    lines = ["---", "license: apache-2.0", f"pipeline_tag: {task}", "---", "", f"# {name}", "", measured.about]
    lines += ["## Measured on held-out examples", "", f"| | {measured.metric} |", "|---|---|"]
    lines += [f"| this model | **{measured.value:.4g}** |"]
    lines += [f"| {label} | {value:.4g} |" for label, value in {**measured.baselines, **measured.comparisons}.items()]
    lines += ["", "## How it was made", "", "| | |", "|---|---|"]
    lines += [f"| examples for {part} | {count:,} |" for part, count in measured.examples.items()]
    lines += [f"| {label.replace('_', ' ')} | {value} |" for label, value in made.items()]
    if measured.samples:
        lines += ["", "## Some held-out examples", "", "| input | label | answer |", "|---|---|---|"]
        lines += [f"| {' | '.join(_cell(text) for text in sample)} |" for sample in measured.samples]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    short = text if len(text) <= 160 else f"{text[:157]}..."
    return " ".join(short.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
