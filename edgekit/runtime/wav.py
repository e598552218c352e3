"""WAV files: from bytes to samples, without a codec.

The standard library's ``wave`` refuses float samples and, before Python 3.12, the extensible header that most
24-bit files have; this reader takes both. Every length in the file is checked against the bytes that are there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.spec.settings.audio import MAX_SAMPLES, MAX_SAMPLING_RATE, MIN_SAMPLING_RATE

MAX_CHANNELS: Final = 32

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")  # of every GUID that stands for a plain format
_CONVERT: Final = "convert it first, for example: ffmpeg -i INPUT -ac 1 -ar 16000 OUTPUT.wav"


@dataclass(frozen=True, slots=True)
class _Format:
    coding: int
    channels: int
    sampling_rate: int
    bits: int


def read_wav(data: bytes, name: str = "audio") -> tuple[npt.NDArray[np.float32], int]:
    """Decode a WAV file and mix its channels down to their mean.

    Args:
        data: The file's bytes: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64 bits.
        name: What to call it in errors.

    Returns:
        The samples, (n,) float32, full scale at 1, and samples a second.

    Raises:
        InputError: It is no such file, is cut short, or holds no sound.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise InputError(f"{name}: not a WAV file: {_looks_like(data)}", hint=_CONVERT)
    form: _Format | None = None
    place = 12
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        body = data[place + 8 : place + 8 + size]
        if kind == b"fmt ":
            form = _read_format(body, name)
        elif kind == b"data":
            if form is None:
                raise InputError(f"{name}: a WAV file with samples before their format", hint=_CONVERT)
            # A recorder that streams does not know the size yet and writes the largest.
            if len(body) < size < 0xFFFFFF00:
                raise InputError(f"{name}: cut short: {len(body)} of {size} bytes of samples", hint="get it again")
            return _samples(body, form, name), form.sampling_rate
        place += 8 + size + size % 2
    raise InputError(f"{name}: a WAV file without samples", hint=_CONVERT)


def _read_format(body: bytes, name: str) -> _Format:
    if len(body) < 16:
        raise InputError(f"{name}: its format chunk holds {len(body)} bytes, expected at least 16")
    coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if coding == _EXTENSIBLE:
        if len(body) < 40 or body[26:40] != _SUBFORMAT_TAIL:
            raise InputError(f"{name}: a WAV file of a coding that edgekit does not read", hint=_CONVERT)
        coding = struct.unpack_from("<H", body, 24)[0]
    if (coding, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        raise InputError(f"{name}: a WAV file of coding {coding} with {bits} bits is not read here", hint=_CONVERT)
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"{name}: {channels} channels, expected 1 to {MAX_CHANNELS}")
    if not MIN_SAMPLING_RATE <= rate <= MAX_SAMPLING_RATE:
        raise InputError(f"{name}: {rate} samples a second, expected {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE}")
    return _Format(coding, channels, rate, bits)


def _samples(body: bytes, form: _Format, name: str) -> npt.NDArray[np.float32]:
    frame = form.channels * form.bits // 8
    count = len(body) // frame
    if not 1 <= count <= MAX_SAMPLES:
        raise InputError(f"{name}: {count} samples, expected 1 to {MAX_SAMPLES}")
    values = _floats(body[: count * frame], form).reshape(count, form.channels)
    return values[:, 0] if form.channels == 1 else values.mean(axis=1, dtype=np.float32)


def _floats(body: bytes, form: _Format) -> npt.NDArray[np.float32]:
    if form.coding == _FLOAT:
        return np.frombuffer(body, dtype=f"<f{form.bits // 8}").astype(np.float32)
    if form.bits == 8:  # the only width without a sign
        return _scaled(np.frombuffer(body, dtype=np.uint8).astype(np.int16) - 128, 8)
    if form.bits == 24:
        wide = np.zeros((len(body) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3)
        return _scaled(wide.view("<i4")[:, 0], 32)
    return _scaled(np.frombuffer(body, dtype=f"<i{form.bits // 8}"), form.bits)


def _scaled(values: npt.NDArray[np.signedinteger], bits: int) -> npt.NDArray[np.float32]:
    return values.astype(np.float32) * np.float32(2.0 ** (1 - bits))


def _looks_like(data: bytes) -> str:
    known = {
        b"fLaC": "it looks like FLAC",
        b"OggS": "it looks like Ogg",
        b"ID3": "it looks like MP3",
        b"\xff\xfb": "it looks like MP3",
        b"RIFX": "it is big-endian",
        b"RF64": "it is a 64-bit WAV",
        b"FORM": "it looks like AIFF",
    }
    return next((text for start, text in known.items() if data.startswith(start)), "edgekit reads only WAV")
