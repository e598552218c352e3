"""Synthetic sounds: enough to see that an export answers like the original, not enough to prove a model.

edgekit ships no recordings. Gliding tones with overtones in noise excite every band, differ from each other, and are
the same on every machine to rounding.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.spec.settings.audio import AudioSettings
from edgekit.stages.data import Dataset

CALIBRATION: Final = 12
JUDGED: Final = 24
LENGTHS_S: Final = (0.5, 0.63, 0.8, 1.0)

_PREFIX: Final = "synthetic:"
_DOUBT: Final = (
    "asked of synthetic sounds only: give recordings with --data, a .csv or .jsonl whose column 'audio' names WAV "
    "files, or a folder of them with a folder for each label"
)


def dataset() -> Dataset:
    """Rows whose column ``audio`` names a sound."""
    rows = [{"audio": f"{_PREFIX}{number}"} for number in range(CALIBRATION + JUDGED)]
    digest = hashlib.sha256("\n".join(row["audio"] for row in rows).encode()).hexdigest()
    return Dataset("synthetic-audio-1", digest, tuple(rows[:CALIBRATION]), tuple(rows[CALIBRATION:]), doubt=_DOUBT)


def is_synthetic(cell: str) -> bool:
    """Whether a cell names such a sound."""
    return cell.startswith(_PREFIX)


def clip(cell: str, settings: AudioSettings) -> npt.NDArray[np.float32]:
    """The sound a cell names, at the model's rate, (n,)."""
    number = int(cell.removeprefix(_PREFIX))
    seconds = LENGTHS_S[number % len(LENGTHS_S)]
    return sound(number, max(round(seconds * settings.sampling_rate), settings.min_samples))


def sound(number: int, count: int) -> npt.NDArray[np.float32]:
    """A gliding tone with overtones in noise, (count,) float32 within 1."""
    random = np.random.default_rng(number)
    places = np.arange(count)
    start, end = random.uniform(0.005, 0.2, 2)  # cycles a sample
    phase = 2 * np.pi * np.cumsum(np.linspace(start, end, count)) / 2
    tone = sum(random.uniform(0, 0.15) * np.sin(order * phase) for order in (1, 2, 3))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * places * random.uniform(1e-4, 1e-3))
    return np.asarray(tone * swell + random.normal(0, random.uniform(0.005, 0.1), count), np.float32)
