from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import InputError
from edgekit.runtime.audio_features import (
    filter_bank_features,
    kaldi_filters,
    log_mel_features,
    mel_filters,
    waveform_features,
)
from edgekit.runtime.resampling import resample
from edgekit.spec.settings.audio import FilterBankFeatures, LogMelFeatures, WaveformFeatures

RATE = 16000
AST = FilterBankFeatures(32, "hann", 1.0, 48, -4.2677393, 2 * 4.5689974, False, 1, 0.0)
SEAMLESS = FilterBankFeatures(24, "povey", 32768.0, 0, 0.0, 1.0, True, 2, 1.0)
WHISPER = LogMelFeatures(fft=400, hop=160, bins=40, high_hz=8000.0, clip=16000)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "audio" / "features.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def signal(golden):
    return (golden["signal"] / 32768).astype(np.float32)


def test_normalized_samples_are_those_of_the_extractor(golden, signal):
    made = waveform_features(signal, WaveformFeatures(normalize=True))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[:1600], golden["wav2vec2"], atol=1e-6)
    np.testing.assert_array_equal(waveform_features(signal, WaveformFeatures(normalize=False)), signal)


def test_the_log_mel_spectrogram_is_that_of_the_extractor(golden, signal):
    made = log_mel_features(signal, WHISPER, RATE)
    assert (made.dtype, made.shape) == (np.float32, (40, 100))
    np.testing.assert_allclose(made, golden["whisper"], atol=1e-4)


def test_filter_banks_are_those_of_the_extractors(golden, signal):
    made, mask = filter_bank_features(signal, AST, RATE)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, golden["ast"], atol=1e-5)
    assert mask.tolist() == [1] * 48
    made, mask = filter_bank_features(signal[:6300], SEAMLESS, RATE)
    np.testing.assert_allclose(made, golden["seamless"], atol=1e-5)
    np.testing.assert_array_equal(mask, golden["seamless_mask"])
    assert mask[-1] == 0, "the clip has an odd number of frames"


@pytest.mark.parametrize("rate", [44100, 8000])
def test_resampling_is_that_of_torchaudio(golden, signal, rate):
    np.testing.assert_allclose(resample(signal[:882], rate, RATE), golden[f"resampled_{rate}"], atol=1e-5)


def test_silence_and_too_long_a_clip_are_fine(signal):
    assert np.isfinite(log_mel_features(np.zeros(500, np.float32), WHISPER, RATE)).all()
    assert np.isfinite(waveform_features(np.zeros(500, np.float32), WaveformFeatures(normalize=True))).all()
    assert np.isfinite(filter_bank_features(np.zeros(2000, np.float32), SEAMLESS, RATE)[0]).all()
    long = np.tile(signal, 4)
    np.testing.assert_array_equal(log_mel_features(long, WHISPER, RATE), log_mel_features(long[:16000], WHISPER, RATE))
    assert filter_bank_features(long, AST, RATE)[0].shape == (48, 32)


@pytest.mark.parametrize(("settings", "count"), [(AST, 399), (SEAMLESS, 559)])
def test_too_short_a_clip_has_no_filter_banks(settings, count):
    with pytest.raises(InputError, match=f"{count} samples, expected at least {count + 1}"):
        filter_bank_features(np.ones(count, np.float32), settings, RATE)
    assert len(filter_bank_features(np.ones(count + 1, np.float32), settings, RATE)[0])


@pytest.mark.parametrize("filters", [mel_filters(80, 400, RATE, high_hz=8000.0), kaldi_filters(80, RATE)])
def test_every_mel_band_hears_something_and_peaks_rise(filters):
    assert (filters >= 0).all()
    assert (filters.max(axis=0) > 0).all()
    assert (np.diff(filters.argmax(axis=0)) >= 0).all()


def test_a_tone_is_loudest_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / RATE).astype(np.float32)
    loudest = log_mel_features(tone, WHISPER, RATE)[:, 50].argmax()
    assert mel_filters(40, 400, RATE, high_hz=8000.0)[25, loudest] > 0, "bin 25 of 40 Hz is 1 kHz"


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000]),
    st.sampled_from([8000, 16000, 24000, 44100]),
    st.integers(1, 4000),
)
def test_resampling_keeps_the_ratio_of_lengths(source, target, count):
    samples = np.linspace(-1, 1, count, dtype=np.float32)
    assert len(resample(samples, source, target)) == -(-count * target // source)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([8000, 22050, 44100, 48000]),
    st.sampled_from([8000, 16000, 44100]),
    st.integers(100, 2500),
)
def test_resampling_keeps_a_tone(source, target, frequency):
    tone = np.sin(2 * np.pi * frequency * np.arange(source // 5) / source).astype(np.float32)
    made = resample(tone, source, target)
    exact = np.sin(2 * np.pi * frequency * np.arange(len(made)) / target)
    inner = slice(len(made) // 10, -len(made) // 10)
    np.testing.assert_allclose(made[inner], exact[inner], atol=0.02)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    tone = np.sin(2 * np.pi * 15000 * np.arange(8820) / 44100).astype(np.float32)
    assert np.abs(resample(tone, 44100, 16000)[200:-200]).max() < 0.02


def test_odd_rates_take_no_table_and_give_the_same():
    random = np.random.default_rng(0)
    samples = random.normal(size=3000).astype(np.float32)
    # 383999 and 384000 share no factor: more phases than a table is kept for
    odd = resample(samples, 383999, 384000)
    assert len(odd) == 3001
    np.testing.assert_allclose(odd[100:2900], samples[100:2900], atol=0.1)


@pytest.mark.parametrize("rate", [0, -1, 999, 384001, 16000.0, "16000", True, None])
def test_a_rate_is_an_integer_within_reason(rate):
    with pytest.raises(InputError, match="sampling rate"):
        resample(np.ones(10, np.float32), rate, RATE)
