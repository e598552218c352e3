"""Classify sounds: labels with scores, as ``transformers.pipeline("audio-classification")`` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.audio import AudioEncoder, AudioInput, as_list
from edgekit.runtime.classification import RAW_KINDS, activate, best_labels
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.spec.settings.audio import AudioSettings
from edgekit.spec.settings.labels import ACTIVATIONS, LabelSettings

Samples = npt.NDArray[np.float32]


class AudioClassifier(Model):
    """An open bundle that labels sounds.

    Attributes:
        labels: Their names, in the order of the logits.
        sampling_rate: Samples a second of arrays that come without one.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(LabelSettings)
        audio = opened.section(AudioSettings)
        self.labels = self._settings.labels
        self.sampling_rate = audio.sampling_rate
        self._audio = AudioEncoder(audio, self.manifest.components["model"].inputs)
        self._session = opened.session()

    def __call__(
        self,
        inputs: AudioInput | list[AudioInput] | tuple[AudioInput, ...],
        *,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        batch_size: int = 1,
    ) -> list[Any]:
        """Labels with scores.

        Args:
            inputs: A clip, or a list of clips: a WAV file's path or bytes, an array at the model's rate, or
                ``{"raw" or "array": array, "sampling_rate": Hz}``.
            top_k: Labels for each clip, the most likely first; None gives all.
            function_to_apply: ``softmax``, ``sigmoid`` or ``none``; the model's own where None.
            batch_size: Clips run at once, at most; only clips of one length are.

        Returns:
            A list of ``{"score": float, "label": str}``; for a list of clips, such a list for each.

        Raises:
            InputError: An item is no sound, or too short or too long.
            UsageError: ``function_to_apply``, ``top_k`` or ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        activation = function_to_apply or self._settings.activation
        if activation not in ACTIVATIONS:
            raise UsageError(f"function_to_apply {activation!r}: expected {', '.join(ACTIVATIONS)}")
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k {top_k}: expected at least 1, or None for all")
        values, single = as_list(inputs)
        clips = [self._audio.samples(value, f"audio {index}") for index, value in enumerate(values)]
        scores = activate(self._logits(clips, batch_size), activation)
        answers = [best_labels(row, self.labels, top_k) for row in scores]
        return list(answers[0]) if single else list(answers)

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,)}`` for ``{"audio": (n,)}``; ``flags`` for several labels, ``value`` for a number."""
        name = RAW_KINDS[self._settings.activation]
        return [{name: row} for row in self._logits(self._audio.clips_of(inputs), batch_size)]

    def _logits(self, clips: Sequence[Samples], batch_size: int) -> npt.NDArray[np.float32]:
        logits = np.empty((len(clips), len(self.labels)), np.float32)
        for batch in self._audio.batches(clips, batch_size):
            feeds = self._audio.feeds([clips[index] for index in batch])
            rows = self._session.run(feeds)[self._settings.output]
            if rows.shape != (len(batch), len(self.labels)):
                raise IntegrityError(
                    f"{self.variant.graph_path('model')}: {self._settings.output} has shape {rows.shape}, "
                    f"expected {(len(batch), len(self.labels))}"
                )
            logits[batch] = rows
        return logits
