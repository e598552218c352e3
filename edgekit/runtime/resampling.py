"""Change a waveform's sampling rate.

Band-limited interpolation (J. O. Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample): each new
sample is the old ones weighted by a sinc under a Hann window. Six zero crossings on each side and a cut-off at 99 %
of the lower Nyquist frequency are what ``torchaudio.functional.resample`` takes by default, so that a clip resampled
here is, to float32 rounding, the one that ``transformers.pipeline`` hands to the model.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError
from edgekit.spec.settings.audio import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE

ZERO_CROSSINGS: Final = 6
ROLL_OFF: Final = 0.99

_BLOCK: Final = 1 << 22  # weights or samples gathered at a time: 16 MiB


def resample(samples: npt.NDArray[np.float32], source: int, target: int) -> npt.NDArray[np.float32]:
    """The same sound at another rate.

    Args:
        samples: (n,) float32.
        source: Their samples a second.
        target: The samples a second wanted.

    Returns:
        ``ceil(n * target / source)`` samples, float32.

    Raises:
        InputError: A rate is no integer between 1 kHz and 384 kHz.
    """
    for rate in (source, target):
        if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
            raise InputError(f"sampling rate: expected an integer, got {rate!r}")
        if not MIN_SAMPLING_RATE <= rate <= MAX_SAMPLING_RATE:
            raise InputError(f"sampling rate {rate}: expected {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE} Hz")
    if source == target:
        return samples
    common = math.gcd(int(source), int(target))
    old, new = int(source) // common, int(target) // common
    cut = min(old, new) * ROLL_OFF
    reach = math.ceil(ZERO_CROSSINGS * old / cut)  # samples on each side that carry weight
    offsets = np.arange(-reach, reach + 1)
    length = -(-new * len(samples) // old)
    padded = np.concatenate([np.zeros(reach, np.float32), samples, np.zeros(reach + 1, np.float32)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(offsets))
    result = np.empty(length, dtype=np.float32)
    # Sample k of the result lies at k * old / new among the old ones: its whole part names the
    # window, its remainder one of `new` sets of weights.
    rows = max(1, _BLOCK // len(offsets))
    table = _weights(np.arange(new), offsets, old, new, cut) if new <= rows else None
    for start in range(0, length, rows):
        places = np.arange(start, min(start + rows, length), dtype=np.int64) * old
        phases = places % new
        weights = table[phases] if table is not None else _weights(phases, offsets, old, new, cut)
        result[start : start + rows] = np.einsum("ij,ij->i", windows[places // new], weights)
    return result


def _weights(
    phases: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], old: int, new: int, cut: float
) -> npt.NDArray[np.float32]:
    distances = (phases[:, None] / new - offsets) * (cut / old)  # in zero crossings
    inside = np.clip(distances, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    hann = np.cos(inside * (math.pi / ZERO_CROSSINGS / 2)) ** 2
    weights: npt.NDArray[np.float64] = np.sinc(inside) * hann * (cut / old)
    return weights.astype(np.float32)
