"""Synthetic images: enough to see that an export answers like the original, not enough to prove a model.

edgekit ships no photos. Coloured waves of many directions and widths, with edges and noise, differ from each other
and are the same on every machine.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from edgekit.runtime.resample import Pixels
from edgekit.stages.data import Dataset

CALIBRATION: Final = 12
JUDGED: Final = 24
SIZES: Final = ((96, 128), (128, 96), (112, 112), (75, 200))  # height and width in pixels
KINDS: Final = ("waves", "edges", "noise")

_PREFIX: Final = "synthetic:"
_DOUBT: Final = (
    "asked of synthetic images only: give images with --data, a folder of them with a folder for each label, or a "
    ".csv or .jsonl whose column 'image' names files"
)


def dataset() -> Dataset:
    """Rows whose column ``image`` names an image, and ``label`` its kind."""
    rows = [
        {"image": f"{_PREFIX}{number}", "label": KINDS[number % len(KINDS)]} for number in range(CALIBRATION + JUDGED)
    ]
    digest = hashlib.sha256("\n".join(row["image"] for row in rows).encode()).hexdigest()
    return Dataset("synthetic-images-1", digest, tuple(rows[:CALIBRATION]), tuple(rows[CALIBRATION:]), doubt=_DOUBT)


def is_synthetic(cell: str) -> bool:
    """Whether a cell names such an image."""
    return cell.startswith(_PREFIX)


def picture(cell: str) -> Pixels:
    """The image a cell names, (height, width, 3)."""
    number = int(cell.removeprefix(_PREFIX))
    height, width = SIZES[number % len(SIZES)]
    random = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    if kind == "noise":
        coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
        return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width].astype(np.uint8)
    # Integer slopes and triangle waves: sines need not be the same to the last bit on every machine.
    y, x = np.indices((height, width))
    planes = []
    for _ in range(3):
        across, down, period = (int(random.integers(low, high)) for low, high in ((1, 5), (1, 5), (16, 176)))
        place = (across * x + down * y + int(random.integers(0, 160))) % period
        rising = np.minimum(place, period - place) * 510 // period
        planes.append(rising if kind == "waves" else (rising > 127) * int(random.integers(64, 256)))
    return np.stack(planes, axis=2).astype(np.uint8)
