"""Recognize speech: text, as ``transformers.pipeline("automatic-speech-recognition")`` gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.audio import AudioEncoder, AudioInput, as_list
from edgekit.runtime.ctc import Chunk, Piece, chunk_sizes, chunks, collapse, join, words
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.spec.settings.audio import AudioSettings, CtcSettings

Samples = npt.NDArray[np.float32]

_TIMESTAMPS = ("char", "word")


def recognizer(opened: Opened) -> Model:
    """The object for a bundle of the task, by what its model answers with: frames, or tokens one by one."""
    if CtcSettings.key in opened.manifest.settings:
        return CtcRecognizer(opened)
    from edgekit.runtime.transcription import SpeechRecognizer  # a recognizer by frames does not pay for it

    return SpeechRecognizer(opened)


class CtcRecognizer(Model):
    """An open bundle that writes down speech, frame by frame.

    Attributes:
        sampling_rate: Samples a second of arrays that come without one.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        audio = opened.section(AudioSettings)
        self.sampling_rate = audio.sampling_rate
        self._settings = opened.section(CtcSettings)
        self._audio = AudioEncoder(audio, self.manifest.components["model"].inputs)
        self._session = opened.session()

    def __call__(
        self,
        inputs: AudioInput | list[AudioInput] | tuple[AudioInput, ...],
        *,
        return_timestamps: str | None = None,
        chunk_length_s: float = 0,
        stride_length_s: float | Sequence[float] | None = None,
        batch_size: int = 1,
    ) -> Any:
        """Text, with times where asked for.

        Args:
            inputs: A clip, or a list of clips: a WAV file's path or bytes, an array at the model's rate, or
                ``{"raw" or "array": array, "sampling_rate": Hz}``.
            return_timestamps: ``char`` or ``word``: what to give times of.
            chunk_length_s: Cut longer clips into chunks of so many seconds; 0 runs a clip in one piece.
            stride_length_s: Seconds at the ends of a chunk that are only context, or (left, right); None takes a
                sixth of the chunk on both sides.
            batch_size: Chunks or clips run at once, at most; only those of one length are.

        Returns:
            ``{"text": str}``, with ``"chunks": [{"text": str, "timestamp": (start_s, end_s)}]`` where times are asked
            for; for a list of clips, one for each.

        Raises:
            InputError: An item is no sound, or too short or too long.
            UsageError: An option makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        if return_timestamps not in (None, *_TIMESTAMPS):
            raise UsageError(f"return_timestamps {return_timestamps!r}: expected {' or '.join(_TIMESTAMPS)}")
        values, single = as_list(inputs)
        clips = [self._audio.samples(value, f"audio {index}") for index, value in enumerate(values)]
        if chunk_length_s:
            sizes = chunk_sizes(chunk_length_s, stride_length_s, self.sampling_rate, self._settings.frame_samples)
            best = self._best_of_chunks(clips, sizes, batch_size)
        else:
            best = [logits.argmax(axis=-1) for logits in self._logits(clips, batch_size)]
        answers = [self._answer(ids, return_timestamps) for ids in best]
        return answers[0] if single else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (frames, tokens)}`` for ``{"audio": (n,)}``."""
        return [{"logits": logits} for logits in self._logits(self._audio.clips_of(inputs), batch_size)]

    def _best_of_chunks(
        self, clips: Sequence[Samples], sizes: tuple[int, int, int], batch_size: int
    ) -> list[npt.NDArray[np.intp]]:
        """The best token of each frame of each clip, joined from the middles of its chunks."""
        shortest = self._audio.settings.min_samples
        if sizes[0] < shortest:
            raise UsageError(f"chunk_length_s: {sizes[0]} samples, the model needs at least {shortest}")
        parts: list[tuple[int, Chunk]] = []
        for index, clip in enumerate(clips):
            parts += [
                (index, chunk)
                for chunk in chunks(len(clip), *sizes)
                if chunk.end - chunk.start >= shortest  # a last one too short for a frame adds nothing
            ]
        pieces = [clips[index][chunk.start : chunk.end] for index, chunk in parts]
        kept: list[list[npt.NDArray[np.intp]]] = [[] for _ in clips]
        for (index, chunk), logits in zip(parts, self._logits(pieces, batch_size), strict=True):
            kept[index].append(logits.argmax(axis=-1)[chunk.kept_frames(self._settings.frame_samples)])
        return [np.concatenate(ids) for ids in kept]

    def _logits(self, clips: Sequence[Samples], batch_size: int) -> list[npt.NDArray[np.float32]]:
        logits: dict[int, npt.NDArray[np.float32]] = {}
        for batch in self._audio.batches(clips, batch_size):
            feeds = self._audio.feeds([clips[index] for index in batch])
            rows = self._session.run(feeds)[self._settings.output]
            if rows.ndim != 3 or rows.shape[::2] != (len(batch), len(self._settings.tokens)):
                raise IntegrityError(
                    f"{self.variant.graph_path('model')}: {self._settings.output} has shape {rows.shape}, "
                    f"expected {(len(batch), 'frames', len(self._settings.tokens))}"
                )
            logits.update(zip(batch, rows, strict=True))
        return [logits[index] for index in range(len(clips))]

    def _answer(self, ids: npt.NDArray[np.intp], timestamps: str | None) -> Mapping[str, Any]:
        pieces = collapse(ids, self._settings)
        answer: dict[str, Any] = {"text": join(pieces, self._settings)}
        if timestamps:
            timed = words(pieces, self._settings.space) if timestamps == "word" else pieces
            answer["chunks"] = [{"text": piece.text, "timestamp": self._seconds(piece)} for piece in timed]
        return answer

    def _seconds(self, piece: Piece) -> tuple[float, float]:
        frame = self._settings.frame_samples
        return piece.start * frame / self.sampling_rate, piece.end * frame / self.sampling_rate
