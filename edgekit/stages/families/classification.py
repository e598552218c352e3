"""Text classification: one label of several, several at once, or a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS
from edgekit.runtime.text import texts_of
from edgekit.spec.reader import nearest
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import data, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles
from edgekit.stages.reference import Case, Feeds, Reference, load_model

OUTPUT: Final = "logits"

_SAMPLES: Final = ("Export once, prove it everywhere.", "A second, noticeably longer sentence fills the batch.")


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a sequence classifier and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device.
    """
    folder = without_pickles(checkpoint.folder, work)
    model = load_model(folder, task)
    words = tokenizer.load_tokenizer(folder)
    return ClassificationReference(
        task=task,
        model=model,
        tokenizer=words,
        labels=label_names(model.config),
        activation=activation_of(model.config),
        max_length=tokenizer.max_length(words, model.config),
        tokenizer_json=tokenizer.tokenizer_json(words, checkpoint.folder),
    )


@dataclass(frozen=True, slots=True)
class ClassificationReference(Reference):
    """A loaded sequence classifier."""

    task: str
    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    activation: str
    max_length: int
    tokenizer_json: bytes

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits, as the runtime names them for the activation."""
        import torch

        name = RAW_KINDS[self.activation]
        rows: list[Raw] = []
        texts = texts_of(inputs)
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                logits = self.model(**self._tokens(texts[start : start + batch_size])).logits
                rows += [{name: row} for row in logits.numpy().astype(np.float32)]
        return rows

    def parts(self) -> Mapping[str, Part]:
        """The whole model."""
        sample = self._tokens(_SAMPLES)
        axes: dict[str, tuple[str, ...]] = dict.fromkeys(sample, ("batch", "sequence"))
        return {"model": Part(self.model, sample, (OUTPUT,), {**axes, OUTPUT: ("batch",)})}

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and labels."""
        return (
            TextSettings(
                tokenizer=f"{assets}/{tokenizer.FILE}",
                max_length=self.max_length,
                pad_id=int(self.tokenizer.pad_token_id or 0),
                pad_type_id=int(self.tokenizer.pad_token_type_id),
            ),
            LabelSettings(OUTPUT, self.labels, self.activation),
        )

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {tokenizer.FILE: self.tokenizer_json}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row, with its right label where the row has one."""
        return [
            Case(
                {"text": row["text"]},
                int(self._tokens([row["text"]])["input_ids"].shape[1]),
                dict(label_truth(row, self.labels, self.activation)),
            )
            for row in rows
        ]

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """The model's inputs."""
        return {
            "model": [
                {name: tensor.numpy() for name, tensor in self._tokens([text]).items()} for text in texts_of(inputs)
            ]
        }

    def builtin(self) -> Dataset:
        """The built-in English corpus, which has no labels."""
        return data.builtin_texts()

    def _tokens(self, texts: Sequence[str]) -> dict[str, Any]:
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return dict(batch)


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


def label_truth(row: Row, labels: Sequence[str], activation: str) -> Iterator[tuple[str, Any]]:
    """The right choice of a row with a label, by the raw answer's name.

    Raises:
        DataError: The label is none of the model's.
    """
    if "label" not in row or activation != "softmax":
        return
    if row["label"] not in labels:
        raise DataError(
            f"label {row['label']!r} is none of the model's", hint=nearest(row["label"], tuple(labels)) or str(labels)
        )
    yield "logits", np.array([labels.index(row["label"])])
