"""Token classification: a label for each token of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.reader import nearest
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.tokens import TokenSettings
from edgekit.stages import names
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.classification import label_names
from edgekit.stages.families.text import Asked, TextModel, TextReference, load_text_model
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import Case, Reference

OUTPUT = "logits"
TRUTH = "labels"


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a token classifier and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device, or the labels have gaps.
    """
    text = load_text_model(checkpoint, task, work)
    return TokenReference(task, text, label_names(text.model.config))


@dataclass(frozen=True, slots=True)
class TokenReference(TextReference):
    """A loaded token classifier."""

    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {OUTPUT: ("batch", "sequence")}

    task: str
    text: TextModel
    labels: tuple[str, ...]

    def asked(self, item: Input) -> list[Asked]:
        """The text."""
        return [(item["text"], None)]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits of its tokens, without special ones."""
        return [{"logits": found.arrays[OUTPUT][found.sequence == 0]} for (found,) in self.answered(inputs, batch_size)]

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text, labels and the unknown token."""
        unknown = self.text.tokenizer.unk_token_id
        return (
            self.text.settings(assets),
            LabelSettings(OUTPUT, self.labels, "softmax"),
            TokenSettings(-1 if unknown is None else int(unknown)),
        )

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row; where it has ``labels``, one for each of its words, the first token of a word has a truth."""
        return [self._case(row) for row in rows]

    def builtin(self) -> Dataset:
        """Sentences with names of people, places and organisations; their labels count where the model has such."""
        return names.sentences()

    def _case(self, row: Row) -> Case:
        batch = self.text.tokenizer(
            row["text"], truncation=True, max_length=self.text.max_length, return_offsets_mapping=True
        )
        owners = batch.sequence_ids(0)
        starts = [start for (start, _), owner in zip(batch["offset_mapping"], owners, strict=True) if owner == 0]
        if not starts:
            raise DataError(f"a row holds no token: {row['text'][:60]!r}")
        truth = self._truth(row, starts) if TRUTH in row else {}
        return Case({"text": row["text"]}, len(owners), truth)

    def _truth(self, row: Row, starts: Sequence[int]) -> Mapping[str, npt.NDArray[np.int64]]:
        words = list(re.finditer(r"\S+", row["text"]))
        labels = _read_labels(row[TRUTH])
        if len(labels) != len(words):
            raise DataError(f"{len(labels)} labels for the {len(words)} words of {row['text'][:60]!r}")
        chosen = names.as_labels(labels, self.labels) if row.get(names.KIND) else labels
        if chosen is None:
            return {}
        truth = np.full(len(starts), -1, np.int64)
        for word, label in zip(words, chosen, strict=True):
            if label not in self.labels:
                raise DataError(f"label {label!r} is none of the model's", hint=nearest(label, self.labels))
            inside = [place for place, start in enumerate(starts) if word.start() <= start < word.end()]
            if inside:
                truth[inside[0]] = self.labels.index(label)
        return {"logits": truth}


def _read_labels(cell: str) -> list[str]:
    if not cell.startswith("["):
        return cell.split()
    try:
        labels: Any = json.loads(cell)
    except ValueError as error:
        raise DataError(f"{TRUTH}: not JSON: {error}") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"{TRUTH}: expected a list of str, one for each word")
    return labels
