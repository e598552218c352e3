"""What a device must know of a checkpoint's feature extractor and CTC tokenizer, read from the real objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edgekit.errors import CheckpointError, ExportError
from edgekit.runtime.audio_features import KALDI_FRAME, KALDI_HOP
from edgekit.spec.settings.audio import (
    MAX_SAMPLES,
    AudioSettings,
    CtcSettings,
    Features,
    FilterBankFeatures,
    LogMelFeatures,
    WaveformFeatures,
)
from edgekit.stages.quiet import first_line, quiet

LONGEST_S: Final = 300  # of sound in one run: attention over it needs memory with the square of its length
CTC_TOKENIZER: Final = "Wav2Vec2CTCTokenizer"

_WHISPER_HIGH_HZ: Final = 8000.0  # fixed in the extractor


def load_extractor(folder: Path) -> Any:
    """The checkpoint's feature extractor.

    Raises:
        CheckpointError: It has none that can be loaded.
    """
    with quiet():
        from transformers import AutoFeatureExtractor

        try:
            return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{folder}: its feature extractor cannot be loaded: {first_line(error)}",
                hint="preprocessor_config.json must lie beside config.json",
            ) from error


def audio_settings(extractor: Any, config: Any) -> AudioSettings:
    """How the device makes the model's input.

    Args:
        extractor: From :func:`load_extractor`.
        config: The model's.

    Raises:
        ExportError: The extractor is of a class, or has a setting, that devices do not carry out.
    """
    name = type(extractor).__name__
    if name not in _READERS:
        raise ExportError(
            f"preprocessor_config.json: a {name} is not computed on devices yet",
            hint=f"known are {', '.join(_READERS)}",
        )
    rate = int(extractor.sampling_rate)
    features = _READERS[name](extractor)
    # What is cut to a fixed length has no longest input.
    fixed = isinstance(features, LogMelFeatures) or (isinstance(features, FilterBankFeatures) and features.frames > 0)
    return AudioSettings(
        input=extractor.model_input_names[0],
        sampling_rate=rate,
        min_samples=_shortest(features, config),
        max_samples=MAX_SAMPLES if fixed else LONGEST_S * rate,
        features=features,
    )


def ctc_settings(tokenizer: Any, config: Any, output: str) -> CtcSettings:
    """How the device makes text of frames.

    Args:
        tokenizer: The checkpoint's.
        config: The model's.
        output: The graph output with the scores.

    Raises:
        ExportError: The tokenizer is of a class that devices do not carry out.
    """
    name = type(tokenizer).__name__
    if name != CTC_TOKENIZER:
        raise ExportError(f"a {name} is not decoded on devices yet", hint=f"known is {CTC_TOKENIZER}")
    return CtcSettings(
        output=output,
        frame_samples=int(getattr(config, "inputs_to_logits_ratio", 1)),
        tokens=tuple(tokenizer.convert_ids_to_tokens(list(range(config.vocab_size)))),
        blank=str(tokenizer.pad_token),
        delimiter=str(tokenizer.word_delimiter_token or ""),
        space=str(tokenizer.replace_word_delimiter_char),
        lower_case=bool(tokenizer.do_lower_case),
        clean_up=bool(tokenizer.clean_up_tokenization_spaces),
    )


def _waveform(extractor: Any) -> Features:
    return WaveformFeatures(normalize=bool(extractor.do_normalize))


def _log_mel(extractor: Any) -> Features:
    _require(extractor, padding_value=0.0, dither=0.0)
    return LogMelFeatures(
        fft=int(extractor.n_fft),
        hop=int(extractor.hop_length),
        bins=int(extractor.feature_size),
        high_hz=_WHISPER_HIGH_HZ,
        clip=int(extractor.n_samples),
    )


def _padded_banks(extractor: Any) -> Features:
    return FilterBankFeatures(
        bins=int(extractor.num_mel_bins),
        window="hann",
        scale=1.0,
        frames=int(extractor.max_length),
        mean=float(extractor.mean) if extractor.do_normalize else 0.0,
        deviation=2 * float(extractor.std) if extractor.do_normalize else 1.0,
        per_bin=False,
        stack=1,
        padding=0.0,
    )


def _stacked_banks(extractor: Any) -> Features:
    _require(extractor, stride=2)
    return FilterBankFeatures(
        bins=int(extractor.num_mel_bins),
        window="povey",
        scale=32768.0,
        frames=0,
        mean=0.0,
        deviation=1.0,
        per_bin=True,
        stack=2,
        padding=float(extractor.padding_value),
    )


_READERS: Final[Mapping[str, Callable[[Any], Features]]] = {
    "Wav2Vec2FeatureExtractor": _waveform,
    "WhisperFeatureExtractor": _log_mel,
    "ASTFeatureExtractor": _padded_banks,
    "SeamlessM4TFeatureExtractor": _stacked_banks,
}


def _require(extractor: Any, **values: float) -> None:
    for name, value in values.items():
        found = getattr(extractor, name)
        if found != value:
            raise ExportError(f"preprocessor_config.json: {name} is {found}; devices only know {value}")


def _shortest(features: Features, config: Any) -> int:
    """The samples behind one frame of the model, walked back through its convolutions."""
    if isinstance(features, LogMelFeatures):
        return 1
    if isinstance(features, FilterBankFeatures):
        return KALDI_FRAME + (KALDI_HOP if features.per_bin else 0)
    kernels, strides = getattr(config, "conv_kernel", ()), getattr(config, "conv_stride", ())
    samples = int(getattr(config, "squeeze_factor", 1))  # SEW joins neighbouring frames
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * int(stride) + int(kernel)
    return samples
