import numpy as np
import pytest

from edgekit.errors import HostError, InputError, RecordError, UsageError
from edgekit.runtime.audio import AudioEncoder, as_list
from edgekit.spec.manifest import Tensor
from edgekit.spec.reader import Table
from edgekit.spec.settings.audio import (
    AudioSettings,
    CtcSettings,
    FilterBankFeatures,
    LogMelFeatures,
    WaveformFeatures,
)

from .test_wav import wav

RATE = 16000
WAVEFORM = AudioSettings("input_values", RATE, 400, 32000, WaveformFeatures(normalize=True))
LOG_MEL = AudioSettings("input_features", RATE, 1, 16000, LogMelFeatures(400, 160, 20, 8000.0, 8000))
BANKS = AudioSettings(
    "input_features", RATE, 560, 32000, FilterBankFeatures(16, "povey", 32768.0, 0, 0.0, 1.0, True, 2, 1.0)
)
CTC = CtcSettings("logits", 320, ("<pad>", "|", "a"), "<pad>", "|", " ", False, True)


def encoder(settings=WAVEFORM, *, mask=False):
    rank = ("batch", "samples") if settings is WAVEFORM else ("batch", "rows", "width")
    masks = (Tensor("attention_mask", "int64", ("batch", "rows")),) if mask else ()
    return AudioEncoder(settings, (Tensor(settings.input, "float32", rank), *masks))


def clip(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


@pytest.mark.parametrize("section", [WAVEFORM, LOG_MEL, BANKS, CTC])
def test_sections_survive_their_json(section):
    table = Table(section.to_json(), "edgekit.json")
    assert type(section).read(table) == section
    table.done()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (WAVEFORM, "sampling_rate", 10),
        (WAVEFORM, "min_samples", 0),
        (WAVEFORM, "max_samples", 399),
        (WAVEFORM, "input", 1),
        (WAVEFORM, "kind", "waveforms"),
        (WAVEFORM, "normalize", 1),
        (LOG_MEL, "fft", 1),
        (LOG_MEL, "hop", 0),
        (LOG_MEL, "clip", 200),
        (LOG_MEL, "bins", 1 << 20),
        (BANKS, "window", "hanning"),
        (BANKS, "deviation", 0),
        (BANKS, "stack", 0),
        (CTC, "blank", "<blank>"),
        (CTC, "frame_samples", 0),
        (CTC, "tokens", [1]),
    ],
)
def test_a_broken_section_is_refused_by_its_key(section, key, value):
    with pytest.raises(RecordError, match=key):
        type(section).read(Table(section.to_json() | {key: value}, "edgekit.json"))


def test_every_form_of_a_clip_gives_the_same_samples(tmp_path):
    pcm = (clip(4000) * 32767).astype(np.int16)
    floats = (pcm / 32768).astype(np.float32)
    data = wav(pcm[:, None])
    (tmp_path / "clip.wav").write_bytes(data)
    make = encoder()
    for value in (
        data,
        str(tmp_path / "clip.wav"),
        tmp_path / "clip.wav",
        floats,
        floats.astype(np.float64),
        {"raw": floats, "sampling_rate": RATE},
        {"array": floats, "sampling_rate": RATE, "path": None},
        np.stack([floats, floats]),
    ):
        samples = make.samples(value)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, floats)


def test_another_rate_is_resampled(tmp_path):
    make = encoder()
    assert len(make.samples({"raw": clip(8000), "sampling_rate": 8000})) == 16000
    (tmp_path / "clip.wav").write_bytes(wav(np.zeros((8000, 2)), rate=8000))
    assert len(make.samples(tmp_path / "clip.wav")) == 16000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "got NoneType"),
        (5, "got int"),
        ([0.5], "got list"),
        ("no-such.wav", r"no-such\.wav: cannot be read: No such file"),
        ("a\0b", "cannot be read"),
        ("https://example.com/a.wav", "no network"),
        (b"OggS", "it looks like Ogg"),
        ({"raw": clip(500)}, "sampling_rate"),
        ({"sampling_rate": RATE}, '"raw" or "array"'),
        ({"raw": clip(500), "sampling_rate": RATE, "stride": (1, 1)}, "stride"),
        ({"raw": [0.1] * 500, "sampling_rate": RATE}, "as an array"),
        ({"raw": clip(500), "sampling_rate": "16000"}, "expected an integer"),
        ({"raw": clip(500), "sampling_rate": 10**9}, "expected 1000 to 384000"),
        (np.zeros(500, np.int16), "divide int16 by 32768|array of floats"),
        (np.zeros((500, 2), np.float32), "at most 2 channels"),
        (np.zeros((1, 1, 500), np.float32), "expected shape"),
        (np.float32(1), "got float32"),
        (np.zeros((), np.float32), "expected shape"),
        (np.zeros(0, np.float32), "0 samples"),
        (np.zeros((2, 0), np.float32), "0 samples"),
        (np.full(500, np.nan, np.float32), "not finite"),
        (np.full(500, 1e300), "not finite"),
        (np.full(500, 3e7, np.float32), "far outside"),
        (clip(399), "the model needs at least 400"),
        (np.array(["a"] * 500), "array of floats"),
        (np.zeros(500, complex), "array of floats"),
    ],
)
def test_what_is_no_sound_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        encoder().samples(value)


def test_a_clip_over_the_limit_is_refused_with_its_seconds():
    with pytest.raises(InputError, match=r"audio 1: 2\.5 s is longer than the 2\.0 s") as caught:
        encoder().batches([clip(500), clip(40000)], 1)
    assert "chunk_length_s" in caught.value.hint
    assert encoder().batches([clip(32000)], 1) == [[0]]


def test_batches_hold_clips_of_one_shape():
    clips = [clip(500), clip(600), clip(500, 1), clip(500, 2)]
    assert encoder().batches(clips, 2) == [[0, 2], [3], [1]]
    assert encoder(LOG_MEL).batches(clips, 3) == [[0, 1, 2], [3]]
    assert encoder().batches([], 3) == []
    with pytest.raises(UsageError, match="batch_size 0"):
        encoder().batches(clips, 0)


@pytest.mark.parametrize("settings", [WAVEFORM, LOG_MEL, BANKS])
def test_a_batch_holds_what_each_clip_gives_alone(settings):
    make = encoder(settings, mask=True)
    clips = [clip(2000, seed) for seed in range(3)]
    together = make.feeds(clips)
    assert together[settings.input].dtype == np.float32
    assert together["attention_mask"].dtype == np.int64
    for row, alone in enumerate(clips):
        for name, array in make.feeds([alone]).items():
            np.testing.assert_array_equal(together[name][row], array[0])


def test_masks_tell_sound_from_filling():
    assert encoder(LOG_MEL, mask=True).feeds([clip(1601)])["attention_mask"][0].tolist() == [1] * 11 + [0] * 39
    assert encoder(BANKS, mask=True).feeds([clip(720)])["attention_mask"][0].tolist() == [1, 0]
    assert "attention_mask" not in encoder().feeds([clip(500)])


@pytest.mark.parametrize(
    "tensor", [Tensor("input_ids", "int64", ("batch",)), Tensor("input_values", "float16", ("batch", "samples"))]
)
def test_an_input_that_audio_does_not_give_needs_a_newer_edgekit(tensor):
    with pytest.raises(HostError, match=tensor.name):
        AudioEncoder(WAVEFORM, (tensor,))


def test_a_list_is_answered_with_a_list():
    array = clip(500)
    assert as_list(array) == ([array], True)
    assert as_list([array, "a.wav"]) == ([array, "a.wav"], False)
    assert as_list([]) == ([], False)
    for value in (5, None, {1, 2}, bytearray(b"ab")):
        with pytest.raises(InputError, match="expected audio or a list"):
            as_list(value)
    with pytest.raises(InputError, match="list of numbers"):
        as_list([0.1, 0.2])
