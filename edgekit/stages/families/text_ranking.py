"""Reranking by a cross-encoder: query and document are read together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.settings.ranking import RankingSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import data, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.text import Asked, TextModel, TextReference
from edgekit.stages.families.triplets import at_chance
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line, quiet
from edgekit.stages.reference import Case, Reference, load_model

OUTPUT: Final = "logits"
DOCUMENTS: Final = 4  # a query with fewer is filled up with those of the rows behind it
CALIBRATION: Final = 40
_ACTIVATIONS: Final = {"Sigmoid": "sigmoid", "Identity": "none", "Tanh": "tanh"}


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load the CrossEncoder.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: It scores in a way that bundles do not carry.
    """
    folder = without_pickles(checkpoint.folder, work)
    load_model(folder, "text-classification")  # refuses what sentence-transformers only warns of
    with quiet():
        import torch
        from sentence_transformers import CrossEncoder

        try:
            model = CrossEncoder(
                str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
            )
        except Exception as error:
            raise CheckpointError(
                f"{checkpoint.folder}: sentence-transformers cannot load it: {first_line(error)}",
                hint="check that config.json, tokenizer files and weights belong together",
            ) from error
    model.eval()
    activation = _ACTIVATIONS.get(type(model.activation_fn).__name__)
    names = [type(module).__name__ for module in model]
    if names != ["Transformer"] or model.num_labels != 1 or activation is None:
        raise ExportError(
            f"the model is made of {', '.join(names)}, has {model.num_labels} labels and applies "
            f"{type(model.activation_fn).__name__}; edgekit ranks with one Transformer, one label, and "
            f"{', '.join(_ACTIVATIONS)}",
            hint="a model with several labels is a text-classification",
        )
    if model.default_prompt_name:
        raise ExportError("the model puts a prompt before its text: not carried by bundles yet")
    inner = model[0].auto_model
    text = TextModel(
        model=inner,
        tokenizer=model.tokenizer,
        max_length=tokenizer.max_length(model.tokenizer, inner.config),
        tokenizer_json=tokenizer.tokenizer_json(model.tokenizer, checkpoint.folder),
    )
    return RankingReference(task, text, model, activation)


@dataclass(frozen=True, slots=True)
class RankingReference(TextReference):
    """A loaded CrossEncoder."""

    library: ClassVar[str] = "sentence-transformers"
    columns: ClassVar[tuple[str, ...]] = ("query", "document")
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {OUTPUT: ("batch",)}
    pairs: ClassVar[bool] = True

    task: str
    text: TextModel
    encoder: Any
    activation: str

    def asked(self, item: Input) -> list[Asked]:
        """The query with each of its documents."""
        return [(item["query"], document) for document in item["documents"]]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """What ``CrossEncoder.predict`` answers without an activation."""
        import torch

        pairs = [list(pair) for item in inputs for pair in self.asked(item)]
        scores = iter(
            self.encoder.predict(
                pairs, batch_size=batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=False
            )
        )
        return [{"logits": np.array([next(scores) for _ in item["documents"]], np.float32)} for item in inputs]

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and activation."""
        return (self.text.settings(assets), RankingSettings(OUTPUT, self.activation))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A query with its documents for rows of one query that follow each other.

        A query with fewer than four documents gets those of the rows behind it as well, so that there is something
        to choose from. The document with the largest ``label`` is the right one, where a single one has it.

        Raises:
            DataError: A label is no number, or all rows together have fewer than two documents.
        """
        groups: list[list[Row]] = []
        for row in rows:
            if groups and groups[-1][0]["query"] == row["query"]:
                groups[-1].append(row)
            else:
                groups.append([row])
        everything = list(dict.fromkeys(row["document"] for row in rows))
        return [self._case(number, group, everything) for number, group in enumerate(groups)]

    def builtin(self) -> Dataset:
        """The built-in triplets, both ways round: the other way to say a text against three that say something else."""
        texts, triplets = data.builtin_texts(), data.paraphrases()
        judged = [
            {"query": query, "document": document, "label": label}
            for triplet in triplets
            for query, right, wrong in (
                (triplet.anchor, triplet.paraphrase, triplet.distractor),
                (triplet.paraphrase, triplet.anchor, triplet.distractor),
            )
            for document, label in ((right, "1"), (wrong, "0"))
        ]
        calibration = [
            {"query": first["text"], "document": second["text"]}
            for first, second in zip(texts.calibration, texts.calibration[1:], strict=False)
        ]
        return replace(
            texts,
            name=f"builtin-{data.PARAPHRASES}",
            calibration=tuple(calibration[:CALIBRATION]),
            judged=tuple(judged),
        )

    def doubts(self, cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:  # noqa: ARG002 - asks triplets instead
        """A model that does not prefer a paraphrase to a look-alike, where no labels told."""
        if any(case.truth for case in cases):
            return []
        asked = [
            {"query": triplet.anchor, "documents": [triplet.paraphrase, triplet.distractor]}
            for triplet in data.paraphrases()
        ]
        return at_chance([bool(answer["logits"].argmax() == 0) for answer in self.raw(asked)])

    def _case(self, number: int, group: Sequence[Row], everything: Sequence[str]) -> Case:
        own = list(dict.fromkeys(row["document"] for row in group))
        documents = list(own)
        place = everything.index(own[-1])
        for step in range(1, len(everything)):
            if len(documents) >= DOCUMENTS:
                break
            other = everything[(place + step) % len(everything)]
            if other not in documents and other != group[0]["query"]:
                documents.append(other)
        if len(documents) < 2:
            raise DataError(f"query {group[0]['query'][:60]!r} has one document: nothing to choose from")
        turned = [documents[(index + number) % len(documents)] for index in range(len(documents))]
        item = {"query": group[0]["query"], "documents": turned}
        return Case(item, self.size(item), _truth(group, turned))


def _truth(group: Sequence[Row], documents: Sequence[str]) -> Mapping[str, npt.NDArray[np.int64]]:
    try:
        labels = {row["document"]: float(row["label"]) for row in group if row.get("label")}
    except ValueError as error:
        raise DataError(f"label: {error}", hint="a number, larger for a better document") from error
    best = max(labels.values(), default=0.0)
    right = [document for document, label in labels.items() if label == best]
    if len(right) != 1 or best <= 0:
        return {}
    return {"logits": np.array([documents.index(right[0])], np.int64)}
