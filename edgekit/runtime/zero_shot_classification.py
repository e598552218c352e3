"""Classify texts by labels given with them, as ``transformers.pipeline("zero-shot-classification")`` does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.embedding import Embedder
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text import checked_text
from edgekit.runtime.text_graph import TextGraph, fields, listed
from edgekit.runtime.zero_shot import TEMPLATE, Doubles, as_result, by_embedding, by_entailment, hypotheses, read_labels
from edgekit.spec.settings.zero_shot import ZeroShotSettings


class _ZeroShot(Model):
    """What both ways of scoring share."""

    def __call__(
        self,
        sequences: str | Sequence[str],
        candidate_labels: str | Sequence[str] | None = None,
        *,
        hypothesis_template: str = TEMPLATE,
        multi_label: bool = False,
        batch_size: int = 8,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Labels with scores.

        Args:
            sequences: A text, or texts.
            candidate_labels: Labels, as a list or with commas between them; at least one.
            hypothesis_template: The sentence that is made of a label, with ``{}`` where it goes.
            multi_label: Whether several labels can be right: each is then scored by itself.
            batch_size: Texts run at once, at most.

        Returns:
            ``{"sequence", "labels", "scores"}`` for a text, the likeliest label first; a list of them for texts.

        Raises:
            InputError: A text or label is no text, or there are none.
            UsageError: The template has no place for a label, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        items, single = listed(sequences)
        if not items:
            raise InputError("expected at least one text")
        texts = [str(checked_text(f"input {index}", item)) for index, item in enumerate(items)]
        labels = read_labels(candidate_labels)
        sentences = hypotheses(labels, hypothesis_template)
        scored = self._scores(texts, sentences, multi_label=multi_label, batch_size=batch_size)
        results = [as_result(text, labels, scores) for text, scores in zip(texts, scored, strict=True)]
        return results[0] if single else results

    @abstractmethod
    def _scores(
        self, texts: Sequence[str], sentences: Sequence[str], *, multi_label: bool, batch_size: int
    ) -> list[Doubles]: ...


class ZeroShotClassifier(_ZeroShot):
    """An open bundle of a model of natural language inference: a label fits where its sentence follows."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(ZeroShotSettings)
        self._graph = TextGraph(opened)

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,), "flags": (labels,)}`` for ``{"text": str, "candidate_labels": [str, …]}``.

        ``logits`` are those of entailment, ``flags`` how far they are above contradiction: what the scores without
        and with ``multi_label`` are made of. An input may bring its own ``hypothesis_template``.
        """
        asked = [
            fields(item, index, ("text", "candidate_labels"), ("hypothesis_template",))
            for index, item in enumerate(inputs)
        ]
        sentences = [
            hypotheses(read_labels(item["candidate_labels"]), item.get("hypothesis_template", TEMPLATE))
            for item in asked
        ]
        rows = self._logits([item["text"] for item in asked], sentences, batch_size)
        entailment = self._settings.entailment
        contradiction = -1 if entailment == 0 else 0
        return [{"logits": row[:, entailment], "flags": row[:, entailment] - row[:, contradiction]} for row in rows]

    def _scores(
        self, texts: Sequence[str], sentences: Sequence[str], *, multi_label: bool, batch_size: int
    ) -> list[Doubles]:
        rows = self._logits(texts, [sentences] * len(texts), batch_size)
        return [by_entailment(row, self._settings.entailment, multi_label=multi_label) for row in rows]

    def _logits(
        self, texts: Sequence[str], sentences: Sequence[Sequence[str]], batch_size: int
    ) -> list[npt.NDArray[np.float32]]:
        encoded = [
            self._graph.encoder.encode(text, sentence, truncation="only_first", where=f"input {index}: ")
            for index, (text, row) in enumerate(zip(texts, sentences, strict=True))
            for sentence in row
        ]
        output = self._settings.output
        answers = iter(self._graph.run(encoded, {output: (self._settings.classes,)}, batch_size))
        return [np.stack([next(answers)[output] for _ in row]) for row in sentences]


class EmbeddingZeroShotClassifier(_ZeroShot):
    """An open bundle of an embedding model: a label fits where its sentence lies close.

    Scores are a softmax over cosines times :data:`~edgekit.runtime.zero_shot.COSINE_SCALE`, or with ``multi_label``
    the cosines themselves, not below 0. The bundle's parity is that of its embeddings.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._embedder = Embedder(opened)

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """See :meth:`Embedder.raw`."""
        return self._embedder.raw(inputs, batch_size=batch_size)

    def _scores(
        self, texts: Sequence[str], sentences: Sequence[str], *, multi_label: bool, batch_size: int
    ) -> list[Doubles]:
        labels = self._embedder.embed(sentences, batch_size=batch_size)
        vectors = self._embedder.embed(texts, batch_size=batch_size)
        return [by_embedding(vector, labels, multi_label=multi_label) for vector in vectors]
