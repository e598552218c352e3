"""Classify texts: labels with scores, as ``transformers.pipeline("text-classification")`` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw, sigmoid, softmax
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text import TextEncoder, check_inputs, equal_lengths, texts_of
from edgekit.spec.settings.labels import ACTIVATIONS, LabelSettings
from edgekit.spec.settings.text import TextSettings

RAW_KINDS = {"softmax": "logits", "sigmoid": "flags", "none": "value"}


class TextClassifier(Model):
    """An open bundle that labels texts, one label or several.

    Attributes:
        labels: Their names, in the order of the logits.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(LabelSettings)
        text = opened.section(TextSettings)
        self.labels = self._settings.labels
        check_inputs(self.manifest.components["model"].inputs)
        self._text = TextEncoder(opened.read(text.tokenizer), text)
        self._session = opened.session()

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        top_k: int | None = 1,
        function_to_apply: str | None = None,
        batch_size: int = 8,
    ) -> list[Any]:
        """Labels with scores.

        Args:
            inputs: A text, or texts.
            top_k: Labels for each text, the most likely first; None gives all.
            function_to_apply: ``softmax``, ``sigmoid`` or ``none``; the model's own where None.
            batch_size: Texts run at once, at most.

        Returns:
            With ``top_k`` 1 a ``{"label": str, "score": float}`` for each text; otherwise a list of them for each.

        Raises:
            InputError: An item is no text.
            UsageError: ``function_to_apply``, ``top_k`` or ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        activation = function_to_apply or self._settings.activation
        if activation not in ACTIVATIONS:
            raise UsageError(f"function_to_apply {activation!r}: expected {', '.join(ACTIVATIONS)}")
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k {top_k}: expected at least 1, or None for all")
        texts = [inputs] if isinstance(inputs, str) else inputs
        answers = [
            best_labels(scores, self.labels, top_k) for scores in activate(self._logits(texts, batch_size), activation)
        ]
        return [answer[0] for answer in answers] if top_k == 1 else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,)}`` for ``{"text": str}``; ``flags`` for several labels, ``value`` for a regression."""
        name = RAW_KINDS[self._settings.activation]
        return [{name: row} for row in self._logits(texts_of(inputs), batch_size)]

    def _logits(self, texts: Sequence[str], batch_size: int) -> npt.NDArray[np.float32]:
        if not isinstance(texts, Sequence | np.ndarray):
            raise InputError(f"expected a str or a list of str, got {type(texts).__name__}")
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        ids = self._text.encode(texts)
        logits = np.empty((len(ids), len(self.labels)), np.float32)
        for batch in equal_lengths(ids, batch_size):
            feeds = self._text.batch([ids[row] for row in batch], self._session.inputs)
            rows = self._session.run(feeds)[self._settings.output]
            if rows.shape != (len(batch), len(self.labels)):
                raise IntegrityError(
                    f"{self.variant.graph_path('model')}: {self._settings.output} has shape {rows.shape}, "
                    f"expected {(len(batch), len(self.labels))}"
                )
            logits[batch] = rows
        return logits


def activate(logits: npt.NDArray[np.float32], activation: str) -> npt.NDArray[np.float64]:
    """Scores from logits, float64 of the same shape; ``activation`` is one of :data:`ACTIVATIONS`."""
    if activation == "none":
        return logits.astype(np.float64)
    return softmax(logits) if activation == "softmax" else sigmoid(logits)


def best_labels(scores: npt.NDArray[np.float64], labels: Sequence[str], top_k: int | None) -> list[Mapping[str, Any]]:
    """The ``top_k`` best of a row of scores as ``{"label", "score"}``, best first; ties in the labels' order."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [{"label": labels[place], "score": float(scores[place])} for place in order]
