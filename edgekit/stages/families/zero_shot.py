"""Zero-shot classification by entailment: does the sentence made of a label follow from the text?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.zero_shot import TEMPLATE, hypotheses, read_labels
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.zero_shot import ZeroShotSettings
from edgekit.stages import data
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.classification import label_names, read_list
from edgekit.stages.families.text import Asked, TextModel, TextReference, load_text_model
from edgekit.stages.families.triplets import at_chance
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import Case, Reference

OUTPUT: Final = "logits"
LABELS: Final = ("files", "numbers", "text", "time", "networks", "errors")  # for the built-in corpus
JUDGED: Final = 200
MAX_LABELS: Final = 12  # of a data file without candidate_labels


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a model of natural language inference and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device, or no label says entailment.
    """
    text = load_text_model(checkpoint, "text-classification", work)
    labels = label_names(text.model.config)
    entailing = [index for index, label in enumerate(labels) if label.lower().startswith("entail")]
    if not entailing or len(labels) < 2:
        raise ExportError(
            f"config.json: id2label: {', '.join(labels)}: none says entailment, which zero-shot classification needs",
            hint="if one of them means it, name it 'entailment' in config.json",
        )
    return EntailmentReference(task, text, len(labels), entailing[0])


@dataclass(frozen=True, slots=True)
class EntailmentReference(TextReference):
    """A loaded model of natural language inference."""

    truncation: ClassVar[str] = "only_first"
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {OUTPUT: ("batch",)}
    pairs: ClassVar[bool] = True

    task: str
    text: TextModel
    classes: int
    entailment: int

    def asked(self, item: Input) -> list[Asked]:
        """The text with the sentence of each label."""
        labels = read_labels(item["candidate_labels"])
        return [(item["text"], sentence) for sentence in hypotheses(labels, item.get("hypothesis_template", TEMPLATE))]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits of entailment over the labels, and by how much each exceeds that of contradiction."""
        answers: list[Raw] = []
        for answered in self.answered(inputs, batch_size):
            rows = np.stack([found.arrays[OUTPUT] for found in answered])
            entailing = rows[:, self.entailment]
            answers.append({"logits": entailing, "flags": entailing - rows[:, -1 if self.entailment == 0 else 0]})
        return answers

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and entailment."""
        return (self.text.settings(assets), ZeroShotSettings(OUTPUT, self.classes, self.entailment))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row, with its ``candidate_labels``, or those that the rows' ``label`` column has, or built-in ones.

        Raises:
            DataError: A row's label is none of its candidates, or there are fewer than two.
        """
        known = list(dict.fromkeys(row["label"] for row in rows if row.get("label")))[:MAX_LABELS]
        return [self._case(row, known or list(LABELS)) for row in rows if not row.get("label") or row["label"] in known]

    def builtin(self) -> Dataset:
        """The built-in English corpus, with six labels that its sentences may be about."""
        texts = data.builtin_texts()
        return Dataset(texts.name, texts.sha256, texts.calibration[:JUDGED], texts.judged[:JUDGED])

    def doubts(self, cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:  # noqa: ARG002 - asks triplets instead
        """A model that does not see that a paraphrase follows rather than a look-alike, where no labels told."""
        if any(case.truth for case in cases):
            return []
        triplets = data.paraphrases()
        template = {"hypothesis_template": "{}"}
        asked = [
            {"text": triplet.anchor, "candidate_labels": [triplet.paraphrase, triplet.distractor], **template}
            for triplet in triplets
        ]
        return at_chance([bool(answer["logits"].argmax() == 0) for answer in self.raw(asked)])

    def _case(self, row: Row, known: Sequence[str]) -> Case:
        given = row.get("candidate_labels", "")
        labels = read_list(given, "candidate_labels") if given else list(known)
        if len(labels) < 2:
            raise DataError(f"candidate_labels: {', '.join(labels) or 'none'}: expected at least two to choose from")
        item = {"text": row["text"], "candidate_labels": labels}
        truth = {}
        if row.get("label"):
            if row["label"] not in labels:
                raise DataError(f"label {row['label']!r} is none of its candidates: {', '.join(labels)}")
            truth = {"logits": np.array([labels.index(row["label"])], np.int64)}
        return Case(item, self.size(item), truth)
