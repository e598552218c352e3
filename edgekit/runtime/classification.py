"""Classify texts: labels with scores, as ``transformers.pipeline("text-classification")`` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.runtime.answers import Input, Raw, sigmoid, softmax
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text_graph import TextGraph, fields, listed
from edgekit.spec.settings.labels import ACTIVATIONS, LabelSettings

RAW_KINDS = {"softmax": "logits", "sigmoid": "flags", "none": "value"}


class TextClassifier(Model):
    """An open bundle that labels texts, one label or several.

    Attributes:
        labels: Their names, in the order of the logits.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(LabelSettings)
        self.labels = self._settings.labels
        self._graph = TextGraph(opened)

    def __call__(
        self,
        inputs: str | Mapping[str, str] | Sequence[str | Mapping[str, str]],
        *,
        top_k: int | Literal[""] | None = "",
        function_to_apply: str | None = None,
        batch_size: int = 8,
    ) -> Any:
        """Labels with scores.

        Args:
            inputs: A text, or ``{"text": str, "text_pair": str}``, or a list of them.
            top_k: Labels for each input, the most likely first; None gives all. Left out, each input has one label
                and no list around it.
            function_to_apply: ``softmax``, ``sigmoid`` or ``none``; the model's own where None.
            batch_size: Inputs run at once, at most.

        Returns:
            With ``top_k`` a list of ``{"label": str, "score": float}`` for an input, and a list of such lists for a
            list. Left out, one of these for a ``dict``, and a list of them for a list; and, as the pipeline has it,
            for a single ``str`` a list too.

        Raises:
            InputError: An item is no text and no pair of texts.
            UsageError: An argument makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        activation = function_to_apply or self._settings.activation
        if activation not in ACTIVATIONS:
            raise UsageError(f"function_to_apply {activation!r}: expected {', '.join(ACTIVATIONS)}")
        if isinstance(top_k, str) and top_k:
            raise UsageError(f"top_k {top_k!r}: expected an integer of at least 1, or None for all")
        count = 1 if top_k == "" else top_k
        if count is not None and (isinstance(count, str | bool) or count < 1):
            raise UsageError(f"top_k {top_k}: expected at least 1, or None for all")
        items, single = listed(inputs)
        scores = [activate(row, activation) for row in self._logits(items, batch_size)]
        answers: list[Any] = [best_labels(row, self.labels, count) for row in scores]
        if top_k == "":
            answers = [answer[0] for answer in answers]
            return answers[0] if isinstance(inputs, Mapping) else answers
        return answers[0] if single else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,)}`` (or ``flags`` for several labels, ``value`` for a regression).

        Inputs are ``{"text": str}``, with a ``text_pair`` where the model reads pairs.
        """
        name = RAW_KINDS[self._settings.activation]
        return [{name: row} for row in self._logits(inputs, batch_size)]

    def _logits(self, items: Sequence[Any], batch_size: int) -> list[npt.NDArray[np.float32]]:
        encoded = []
        for index, item in enumerate(items):
            asked = fields(item, index, ("text",), ("text_pair",))
            encoded.append(self._graph.encoder.encode(asked["text"], asked.get("text_pair"), where=f"input {index}: "))
        output = self._settings.output
        answers = self._graph.run(encoded, {output: (len(self.labels),)}, batch_size)
        return [answer[output] for answer in answers]


def activate(logits: npt.NDArray[np.float32], activation: str) -> npt.NDArray[np.float64]:
    """Scores from logits, float64 of the same shape; ``activation`` is one of :data:`ACTIVATIONS`."""
    if activation == "none":
        return logits.astype(np.float64)
    return softmax(logits) if activation == "softmax" else sigmoid(logits)


def best_labels(scores: npt.NDArray[np.float64], labels: Sequence[str], top_k: int | None) -> list[Mapping[str, Any]]:
    """The ``top_k`` best of a row of scores as ``{"label", "score"}``, best first; ties in the labels' order."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [{"label": labels[place], "score": float(scores[place])} for place in order]
