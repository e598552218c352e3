"""Audio in: from what a caller has (a file, an array, a dict) to the arrays a graph takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import HostError, InputError, UsageError
from edgekit.runtime.answers import Input
from edgekit.runtime.audio_features import filter_bank_features, log_mel_features, waveform_features
from edgekit.runtime.resampling import resample
from edgekit.runtime.wav import read_wav
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.audio import MAX_SAMPLES, AudioSettings, LogMelFeatures, WaveformFeatures

# A WAV file's path or its bytes; samples at the model's rate; or {"raw" or "array": samples, "sampling_rate": Hz}.
AudioInput = str | os.PathLike[str] | bytes | npt.NDArray[np.floating] | Mapping[str, Any]

MAX_FILE_BYTES: Final = 1 << 30
MASK: Final = "attention_mask"

_MASK_TYPES: Final = ("int64", "int32", "bool")
_LOUDEST: Final = 1e6  # samples lie within 1; integers of 32 bits that were never scaled do not get through


class AudioEncoder:
    """Turns sound into a graph's inputs as the bundle's settings say.

    Args:
        settings: The manifest's.
        inputs: The graph's inputs.

    Raises:
        HostError: The graph has an input that is not made from audio here.
    """

    def __init__(self, settings: AudioSettings, inputs: Iterable[Tensor]) -> None:
        self.settings = settings
        self._inputs = tuple(inputs)
        for tensor in self._inputs:
            features = tensor.name == settings.input and tensor.dtype == "float32"
            if not features and not (tensor.name == MASK and tensor.dtype in _MASK_TYPES):
                raise HostError(
                    f"edgekit.json: inputs: {tensor.name} ({tensor.dtype}) is none that this edgekit makes from audio",
                    hint="it needs a newer edgekit: pip install --upgrade edgekit",
                )

    def samples(self, value: AudioInput | None, name: str = "audio") -> npt.NDArray[np.float32]:
        """The sound at the model's rate, mono, (n,) float32.

        Args:
            value: A WAV file's path or bytes, samples at the model's rate, or a dict with their own rate.
            name: What to call it in errors.

        Raises:
            InputError: It is no sound, is shorter than ``min_samples``, or holds NaN or infinity.
        """
        samples, rate = _read(value, self.settings.sampling_rate, name)
        if not np.isfinite(samples).all() or np.abs(samples).max(initial=0) > _LOUDEST:
            raise InputError(
                f"{name}: samples are not finite, or far outside -1..1", hint="divide 16-bit integers by 32768"
            )
        samples = resample(samples, rate, self.settings.sampling_rate)
        if len(samples) < self.settings.min_samples:
            raise InputError(
                f"{name}: {len(samples)} samples at {self.settings.sampling_rate} Hz; "
                f"the model needs at least {self.settings.min_samples}"
            )
        return samples

    def clips_of(self, inputs: Sequence[Input]) -> list[npt.NDArray[np.float32]]:
        """The sounds of raw inputs.

        Raises:
            InputError: One has no field ``audio``, or holds no sound there.
        """
        return [self.samples(asked.get("audio"), f"input {index}") for index, asked in enumerate(inputs)]

    def batches(self, clips: Sequence[npt.NDArray[np.float32]], batch_size: int) -> list[list[int]]:
        """Groups of clips, by index, whose features have one shape: nothing is padded, so no answer depends on others.

        Raises:
            InputError: A clip is too long to be run in one piece.
            UsageError: ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        for index, clip in enumerate(clips):
            self._check_length(len(clip), f"audio {index}")
        fixed = isinstance(self.settings.features, LogMelFeatures) or (
            not isinstance(self.settings.features, WaveformFeatures) and self.settings.features.frames > 0
        )
        by_length: dict[int, list[int]] = {}
        for index, clip in enumerate(clips):
            by_length.setdefault(0 if fixed else len(clip), []).append(index)
        return [
            group[start : start + batch_size]
            for group in by_length.values()
            for start in range(0, len(group), batch_size)
        ]

    def feeds(self, clips: Sequence[npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[Any]]:
        """Arrays for the graph's inputs.

        Args:
            clips: At least one, each from :meth:`samples`, of one group of :meth:`batches`.

        Returns:
            By input name; the features are (batch, n), (batch, bins, frames) or (batch, rows, width) float32.
        """
        features, masks = zip(*map(self._features, clips), strict=True)
        made = {self.settings.input: np.stack(features), MASK: np.stack(masks)}
        return {tensor.name: np.ascontiguousarray(made[tensor.name], dtype=tensor.dtype) for tensor in self._inputs}

    def _check_length(self, count: int, name: str) -> None:
        if count > self.settings.max_samples:
            rate = self.settings.sampling_rate
            raise InputError(
                f"{name}: {count / rate:.1f} s is longer than the {self.settings.max_samples / rate:.1f} s "
                "that the model takes in one piece",
                hint="cut it into shorter clips; speech recognition does so itself with chunk_length_s=30",
            )

    def _features(self, clip: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        features, rate = self.settings.features, self.settings.sampling_rate
        if isinstance(features, WaveformFeatures):
            return waveform_features(clip, features), np.ones(len(clip), dtype=np.int64)
        if isinstance(features, LogMelFeatures):
            heard = min(len(clip), features.clip)
            mask = np.arange(0, features.frames * features.hop, features.hop) < heard
            return log_mel_features(clip, features, rate), mask.astype(np.int64)
        return filter_bank_features(clip, features, rate)


def as_list(inputs: AudioInput | list[AudioInput] | tuple[AudioInput, ...]) -> tuple[list[AudioInput], bool]:
    """The clips of a call, and whether it was a single one, which is answered without a list.

    Raises:
        InputError: It is neither.
    """
    if isinstance(inputs, str | os.PathLike | bytes | np.ndarray | Mapping):
        return [inputs], True
    if not isinstance(inputs, list | tuple):
        raise InputError(f"expected audio or a list of audio, got {type(inputs).__name__}")
    if inputs and all(isinstance(value, int | float) for value in inputs):
        raise InputError("expected audio, got a list of numbers", hint="make it an array: numpy.asarray(list)")
    return list(inputs), False


def _read(value: AudioInput | None, rate: int, name: str) -> tuple[npt.NDArray[np.float32], int]:
    if isinstance(value, np.ndarray):
        return _mono(value, name), rate
    if isinstance(value, bytes):
        return read_wav(value, name)
    if isinstance(value, str | os.PathLike):
        return read_wav(_file(value), os.fspath(value))
    if not isinstance(value, Mapping):
        raise InputError(
            f"{name}: expected the path or bytes of a WAV file, an array or a dict, got {type(value).__name__}"
        )
    if "stride" in value:
        raise InputError(f"{name}: a stride inside the dict is not read here", hint="give stride_length_s instead")
    samples = value.get("raw", value.get("array"))
    if not isinstance(samples, np.ndarray) or "sampling_rate" not in value:
        raise InputError(f'{name}: expected a dict with "sampling_rate" and, as an array, "raw" or "array"')
    return _mono(samples, name), value["sampling_rate"]


def _mono(samples: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    if samples.dtype not in (np.float32, np.float64, np.float16):
        raise InputError(f"{name}: expected an array of floats, got {samples.dtype}", hint="divide int16 by 32768")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] > 2):
        raise InputError(
            f"{name}: expected shape (samples,) or (channels, samples) with at most 2 channels, got {samples.shape}"
        )
    if not 1 <= samples.shape[-1] <= MAX_SAMPLES:
        raise InputError(f"{name}: {samples.shape[-1]} samples, expected 1 to {MAX_SAMPLES}")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite and is refused
        floats = samples.astype(np.float32)
    return floats if floats.ndim == 1 else floats.mean(axis=0)


def _file(path: str | os.PathLike[str]) -> bytes:
    text = os.fspath(path)
    if text.startswith(("http://", "https://")):
        raise InputError(f"{text}: edgekit's device side opens no network connections", hint="download the file first")
    try:
        file = Path(text)
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{text}: larger than {MAX_FILE_BYTES >> 20} MiB", hint="cut it into shorter files")
        return file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{text}: cannot be read: {reason}", hint="check the path") from error
