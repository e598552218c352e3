"""Rank documents by how well they answer a query, as ``sentence_transformers.CrossEncoder`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.ranking import activate, rank_documents
from edgekit.runtime.text_graph import TextGraph, fields, listed
from edgekit.spec.settings.ranking import RankingSettings

_FIELDS: Final = ("query", "documents")


class TextRanker(Model):
    """An open bundle of a cross-encoder: it reads query and document together and gives them a score."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(RankingSettings)
        self._graph = TextGraph(opened)

    def __call__(
        self,
        query: Any,
        documents: Sequence[str] | None = None,
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int = 32,
    ) -> list[Any]:
        """Documents from the best to the worst.

        Args:
            query: What is asked; or ``{"query": str, "documents": [str, …]}``; or a list of either.
            documents: What may answer it, where ``query`` does not bring its own.
            top_k: How many are wanted; None for all.
            return_documents: Whether their texts are given back.
            batch_size: Documents run at once, at most.

        Returns:
            For a query a list of ``{"corpus_id": int, "score": float}``, with ``"text"`` where asked for;
            ``corpus_id`` is the document's place among ``documents``. For a list a list of such lists.

        Raises:
            InputError: A query or a document is no text.
            UsageError: ``top_k`` or ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        items, single = listed(query)
        asked = [
            {"query": item, "documents": documents} if isinstance(item, str) else fields(item, index, _FIELDS)
            for index, item in enumerate(items)
        ]
        answers = []
        for row, item in zip(self._rows(asked, batch_size), asked, strict=True):
            scores = activate(row.reshape(-1, 1), self._settings.activation)
            texts = item["documents"] if return_documents else None
            answers.append(rank_documents(scores, top_k=top_k, documents=texts))
        return answers[0] if single else answers

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int = 32,
    ) -> list[dict[str, Any]]:
        """Documents from the best to the worst, under the name that ``CrossEncoder`` has for it."""
        return self(query, documents, top_k=top_k, return_documents=return_documents, batch_size=batch_size)

    def predict(
        self, inputs: Sequence[str] | Sequence[Sequence[str]], *, batch_size: int = 32
    ) -> npt.NDArray[np.float32] | np.float32:
        """Scores of pairs.

        Args:
            inputs: Pairs of query and document, or a single pair.
            batch_size: Pairs run at once, at most.

        Returns:
            (pairs,), or a number for a single pair.

        Raises:
            InputError: An item is no pair of texts.
            UsageError: ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        pairs, _ = listed(inputs)
        single = len(pairs) == 2 and all(isinstance(item, str) for item in pairs)
        scores = activate(self._logits([pairs] if single else pairs, batch_size), self._settings.activation)
        return np.float32(scores[0]) if single else scores

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (documents,)}`` for ``{"query": str, "documents": [str, …]}``: which document is the best."""
        asked = [fields(item, index, _FIELDS) for index, item in enumerate(inputs)]
        return [{"logits": row} for row in self._rows(asked, batch_size)]

    def _rows(self, asked: Sequence[Input], batch_size: int) -> list[npt.NDArray[np.float32]]:
        """A logit for each document of each query."""
        for index, item in enumerate(asked):
            if isinstance(item["documents"], str) or not isinstance(item["documents"], Sequence | np.ndarray):
                kind = type(item["documents"]).__name__
                raise InputError(f"input {index}: documents: expected a list of str, got {kind}")
        pairs = [(item["query"], document) for item in asked for document in item["documents"]]
        logits = iter(self._logits(pairs, batch_size)[:, 0])
        return [np.array([next(logits) for _ in item["documents"]], np.float32) for item in asked]

    def _logits(self, pairs: Sequence[Any], batch_size: int) -> npt.NDArray[np.float32]:
        encoded = []
        for index, pair in enumerate(pairs):
            if isinstance(pair, str) or not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
                raise InputError(f"input {index}: expected a pair of query and document, got {type(pair).__name__}")
            encoded.append(self._graph.encoder.encode(pair[0], _text(index, pair[1]), where=f"input {index}: "))
        output = self._settings.output
        answers = self._graph.run(encoded, {output: (1,)}, batch_size)
        return np.array([answer[output] for answer in answers], np.float32).reshape(-1, 1)


def _text(index: int, document: Any) -> str:
    if not isinstance(document, str):
        raise InputError(f"input {index}: expected a str as document, got {type(document).__name__}")
    return document
