"""Text classification: one label of several, several at once, or a number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS
from edgekit.spec.reader import nearest
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import data
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.text import Asked, TextModel, TextReference, load_text_model
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import Case, Reference

OUTPUT: Final = "logits"
PAIR: Final = "text_pair"


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a sequence classifier and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device.
    """
    text = load_text_model(checkpoint, task, work)
    return ClassificationReference(task, text, label_names(text.model.config), activation_of(text.model.config))


@dataclass(frozen=True, slots=True)
class ClassificationReference(TextReference):
    """A loaded sequence classifier."""

    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {OUTPUT: ("batch",)}

    task: str
    text: TextModel
    labels: tuple[str, ...]
    activation: str

    def asked(self, item: Input) -> list[Asked]:
        """The text, and what stands beside it."""
        return [(item["text"], item.get(PAIR))]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits, as the runtime names them for the activation."""
        name = RAW_KINDS[self.activation]
        return [{name: found.arrays[OUTPUT]} for (found,) in self.answered(inputs, batch_size)]

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and labels."""
        return (self.text.settings(assets), LabelSettings(OUTPUT, self.labels, self.activation))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row, or a pair where rows have a ``text_pair``, with its right label where the row has one."""
        paired = [PAIR in row for row in rows]
        if any(paired) and not all(paired):
            raise DataError(f"{paired.count(False)} of {len(rows)} rows have no {PAIR}: expected all or none")
        return [self._case(row) for row in rows]

    def builtin(self) -> Dataset:
        """The built-in English corpus, which has no labels."""
        return data.builtin_texts()

    def _case(self, row: Row) -> Case:
        item = {name: row[name] for name in ("text", PAIR) if name in row}
        return Case(item, self.size(item), label_truth(row, self.labels, self.activation))


def label_names(config: Any) -> tuple[str, ...]:
    """The labels of a classifier's config, in the order of its logits.

    Raises:
        ExportError: The config names them with gaps.
    """
    names: Mapping[int, str] = {int(index): str(name) for index, name in config.id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise ExportError(f"config.json: id2label: expected 0 to {len(names) - 1}, found {sorted(names)}")
    return tuple(names[index] for index in range(len(names)))


def activation_of(config: Any) -> str:
    """What transformers' pipeline applies."""
    problem = config.problem_type
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def read_list(cell: str, column: str) -> list[str]:
    """The texts in a cell: a JSON list, or texts with commas between them.

    Raises:
        DataError: It is neither.
    """
    try:
        found: Any = json.loads(cell) if cell.startswith("[") else [part.strip() for part in cell.split(",")]
    except ValueError as error:
        raise DataError(f"{column}: not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise DataError(f"{column}: expected a list of texts, found {cell[:60]}")
    return [part for part in found if part]


def label_truth(row: Row, labels: Sequence[str], activation: str) -> Mapping[str, npt.NDArray[np.int64]]:
    """The right label; of several at once, for each whether it is one (an empty cell is none of them)."""
    if "label" not in row or activation == "none":
        return {}
    right = [row["label"]] if activation == "softmax" else read_list(row["label"], "label")
    for label in right:
        if label not in labels:
            raise DataError(
                f"label {label!r} is none of the model's: {', '.join(labels[:20])}", hint=nearest(label, tuple(labels))
            )
    if activation == "softmax":
        return {"logits": np.array([labels.index(row["label"])])}
    return {"flags": np.array([int(label in right) for label in labels])}
