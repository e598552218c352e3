import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import InputError
from edgekit.runtime.wav import read_wav


def wav(samples, width=2, rate=16000):
    """What the standard library writes for integers (frames, channels)."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(width)
        writer.setframerate(rate)
        wide = samples.astype("<i4") if width > 1 else (samples + 128).astype(np.uint8)
        raw = wide.tobytes()
        writer.writeframes(b"".join(raw[i : i + width] for i in range(0, len(raw), 4)) if width in (2, 3) else raw)
    return file.getvalue()


def riff(form, body, *, size=None):
    data = struct.pack("<4sI", b"data", len(body) if size is None else size) + body
    chunks = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def plain(coding, bits, *, channels=1, rate=16000):
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", coding, channels, rate, 0, frame, bits)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_integers_of_every_width_are_scaled_to_one(width):
    top = 1 << (8 * width - 1)
    values = np.array([[0], [top - 1], [-top], [top // 2], [-top // 4]])
    samples, rate = read_wav(wav(values, width, 22050))
    assert rate == 22050
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, values[:, 0] / top, atol=1e-7)


def test_channels_are_mixed_down_to_their_mean():
    samples, _ = read_wav(wav(np.array([[8192, 16384], [0, -32768]])))
    np.testing.assert_array_equal(samples, np.array([0.375, -0.5], np.float32))


@pytest.mark.parametrize(("bits", "dtype"), [(32, "<f4"), (64, "<f8")])
def test_floats_are_taken_as_they_are(bits, dtype):
    values = np.array([0.5, -0.25, 1.5], dtype)
    samples, _ = read_wav(riff(plain(3, bits), values.tobytes()))
    np.testing.assert_array_equal(samples, values.astype(np.float32))


def test_the_extensible_header_is_read():
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    form = plain(0xFFFE, 16) + struct.pack("<HHI", 22, 16, 4) + guid
    samples, _ = read_wav(riff(form, struct.pack("<2h", 16384, -16384)))
    assert samples.tolist() == [0.5, -0.5]


def test_other_chunks_are_passed_over():
    data = wav(np.array([[16384]]))
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    samples, _ = read_wav(data[:12] + odd + data[12:])
    assert samples.tolist() == [0.5]


def test_a_stream_of_unknown_length_ends_with_the_file():
    samples, _ = read_wav(riff(plain(1, 16), struct.pack("<2h", 16384, 0), size=0xFFFFFFFF))
    assert samples.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a WAV file"),
        (b"fLaC" + bytes(40), "it looks like FLAC"),
        (b"ID3" + bytes(40), "it looks like MP3"),
        (wav(np.array([[1]]))[:36], "without samples"),
        (wav(np.zeros((0, 1))), "0 samples, expected 1"),
        (wav(np.array([[1], [2]]))[:-1], "cut short: 3 of 4 bytes"),
        (riff(plain(1, 12), b"ab"), "coding 1 with 12 bits"),
        (riff(plain(2, 4), b"ab"), "coding 2 with 4 bits"),
        (riff(plain(1, 16, channels=0), b"ab"), "0 channels"),
        (riff(plain(1, 16, rate=0), b"ab"), "0 samples a second"),
        (riff(plain(1, 16, rate=2**31), b"ab"), "2147483648 samples a second"),
        (riff(plain(1, 16)[:14], b"ab"), "holds 14 bytes"),
        (riff(plain(0xFFFE, 16) + bytes(24), b"ab"), "a coding that edgekit does not read"),
    ],
)
def test_what_is_no_wav_file_says_why(data, message):
    with pytest.raises(InputError, match=message):
        read_wav(data, "clip.wav")


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 60), st.sampled_from([b"", wav(np.arange(8).reshape(4, 2))]))
def test_random_bytes_are_refused_or_read_but_never_crash(noise, place, start):
    data = start[:place] + noise + start[place + len(noise) :]
    try:
        samples, rate = read_wav(data)
    except InputError:
        return
    assert samples.ndim == 1
    assert len(samples) >= 1
    assert 1000 <= rate <= 384000
