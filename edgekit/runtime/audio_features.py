"""Features of a waveform, in numpy: what the feature extractors of transformers compute.

Everything is computed in float64 and handed on as float32. Whisper's extractor uses torch's float32 transform where
torch is installed, which differs from this in the last digits of the quietest bands (about 1e-4 after scaling).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.spec.settings.audio import FilterBankFeatures, LogMelFeatures, WaveformFeatures

Array = npt.NDArray[np.float64]

# Kaldi's defaults at 16 kHz, which the extractors take for every rate.
KALDI_FRAME: Final = 400
KALDI_HOP: Final = 160
KALDI_FFT: Final = 512
_KALDI_LOW_HZ: Final = 20.0
_KALDI_PREEMPHASIS: Final = 0.97
_KALDI_FLOOR: Final = float(np.finfo(np.float32).eps)

_WHISPER_FLOOR: Final = 1e-10
_WHISPER_RANGE: Final = 8.0  # decades below the clip's loudest value
_VARIANCE_FLOOR: Final = 1e-7
_FRAMES_AT_ONCE: Final = 1024


def waveform_features(samples: npt.NDArray[np.float32], settings: WaveformFeatures) -> npt.NDArray[np.float32]:
    """The samples, (n,), shifted to mean 0 and scaled to variance 1 where the settings say so."""
    if not settings.normalize:
        return samples
    # In float32, as Wav2Vec2FeatureExtractor: of a quiet clip even the rounding of the mean is heard.
    deviation = np.sqrt(samples.var() + np.float32(_VARIANCE_FLOOR))
    return np.asarray((samples - samples.mean()) / deviation, dtype=np.float32)


def log_mel_features(
    samples: npt.NDArray[np.float32], settings: LogMelFeatures, sampling_rate: int
) -> npt.NDArray[np.float32]:
    """Whisper's spectrogram of one clip, (bins, frames); see WhisperFeatureExtractor.

    Args:
        samples: (n,); what is over the clip's length is cut, what is missing is silence.
        settings: The section's.
        sampling_rate: In Hz.
    """
    clip = np.zeros(settings.clip, dtype=np.float64)
    clip[: len(samples)] = samples[: settings.clip]
    return scale_log_mel(log_mel(clip, settings, sampling_rate))


def log_mel(samples: npt.NDArray[np.floating], settings: LogMelFeatures, sampling_rate: int) -> Array:
    """The base-10 logarithm of the power in each mel band, (bins, n // hop) float64."""
    edges = np.pad(samples.astype(np.float64), settings.fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(edges, settings.fft)[:: settings.hop]
    frames = frames[: len(samples) // settings.hop]  # the last one, centred behind the end, is dropped
    window = np.hanning(settings.fft + 1)[:-1]
    filters = mel_filters(settings.bins, settings.fft, sampling_rate, high_hz=settings.high_hz)
    return np.log10(np.maximum(_mel_power(frames, window, settings.fft, filters), _WHISPER_FLOOR)).T


def scale_log_mel(values: Array) -> npt.NDArray[np.float32]:
    """Clamp to eight decades below the loudest value and scale, as Whisper was trained."""
    clamped: Array = np.maximum(values, values.max() - _WHISPER_RANGE)
    return ((clamped + 4.0) / 4.0).astype(np.float32)


def filter_bank_features(
    samples: npt.NDArray[np.float32], settings: FilterBankFeatures, sampling_rate: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Kaldi's filter banks; see ASTFeatureExtractor and SeamlessM4TFeatureExtractor.

    Args:
        samples: (n,), at least one frame, and two where the settings normalize each bin.
        settings: The section's.
        sampling_rate: In Hz.

    Returns:
        (rows, stack * bins) float32, and for each row whether it holds sound to its end, (rows,) int64.

    Raises:
        InputError: There are too few samples.
    """
    needed = KALDI_FRAME + (KALDI_HOP if settings.per_bin else 0)
    if len(samples) < needed:
        raise InputError(f"{len(samples)} samples, expected at least {needed}")
    banks = _filter_banks(samples, settings, sampling_rate)
    if settings.per_bin:
        banks = (banks - banks.mean(axis=0)) / np.sqrt(banks.var(axis=0, ddof=1) + np.float32(_VARIANCE_FLOOR))
    if settings.frames:
        banks = banks[: settings.frames]
        banks = np.pad(banks, ((0, settings.frames - len(banks)), (0, 0)))
    banks = (banks - settings.mean) / settings.deviation
    count = len(banks)
    missing = -count % settings.stack  # the last row is filled up and marked as such
    banks = np.pad(banks, ((0, missing), (0, 0)), constant_values=settings.padding)
    rows = banks.reshape(-1, settings.stack * settings.bins).astype(np.float32)
    mask = (np.arange(1, len(rows) + 1) * settings.stack <= count).astype(np.int64)
    return rows, mask


@lru_cache(maxsize=4)
def mel_filters(bins: int, fft: int, sampling_rate: int, *, high_hz: float) -> Array:
    """Slaney's triangular filters of equal area, (fft // 2 + 1, bins); M. Slaney, "Auditory Toolbox" (1998)."""
    edges = _slaney_to_hz(np.linspace(0.0, _hz_to_slaney(high_hz), bins + 2))
    spectrum = np.linspace(0, sampling_rate // 2, fft // 2 + 1)
    return _triangles(spectrum, edges) * (2.0 / (edges[2:] - edges[:-2]))


@lru_cache(maxsize=4)
def kaldi_filters(bins: int, sampling_rate: int) -> Array:
    """Kaldi's filters, triangles on the mel scale itself, (257, bins); kaldi-asr.org, feat/mel-computations."""
    spectrum = _hz_to_kaldi(np.arange(KALDI_FFT // 2 + 1, dtype=np.float64) * (sampling_rate / KALDI_FFT))
    low, high = _hz_to_kaldi(np.array([_KALDI_LOW_HZ, sampling_rate // 2]))
    return _triangles(spectrum, np.linspace(low, high, bins + 2))


def _filter_banks(
    samples: npt.NDArray[np.float32], settings: FilterBankFeatures, sampling_rate: int
) -> npt.NDArray[np.float32]:
    scaled = (samples * np.float32(settings.scale)).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(scaled, KALDI_FRAME)[::KALDI_HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasized = np.empty_like(frames)
    emphasized[:, 1:] = frames[:, 1:] - _KALDI_PREEMPHASIS * frames[:, :-1]
    emphasized[:, 0] = frames[:, 0] * (1 - _KALDI_PREEMPHASIS)
    hann = np.hanning(KALDI_FRAME)
    window = hann if settings.window == "hann" else hann**0.85
    filters = kaldi_filters(settings.bins, sampling_rate)
    banks = np.log(np.maximum(_mel_power(emphasized, window, KALDI_FFT, filters), _KALDI_FLOOR))
    # The extractors normalize float32 values that lie bin by bin in memory, which decides how a mean is rounded.
    return np.ascontiguousarray(banks.T, dtype=np.float32).T


def _mel_power(frames: Array, window: Array, fft: int, filters: Array) -> Array:
    """The power of each windowed frame in each band, (frames, bins), a bounded number of frames at a time."""
    power = np.empty((len(frames), filters.shape[1]))
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        # Rounded to float32 as the extractors do.
        spectrum = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, n=fft).astype(np.complex64)
        parts = spectrum.view(np.float32).astype(np.float64).reshape(*spectrum.shape, 2)
        power[start : start + _FRAMES_AT_ONCE] = (parts**2).sum(axis=2) @ filters
    return power


def _triangles(places: Array, edges: Array) -> Array:
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    column = places[:, None]
    return np.maximum(0.0, np.minimum((column - low) / (centre - low), (high - column) / (high - centre)))


def _hz_to_slaney(hz: float) -> float:
    # Linear below 1 kHz, then a factor of 6.4 every 27 mels.
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _slaney_to_hz(mels: Array) -> Array:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))


def _hz_to_kaldi(hz: Array) -> Array:
    mels: Array = 1127.0 * np.log(1.0 + hz / 700.0)
    return mels
