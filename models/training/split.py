"""Which part an example belongs to: decided by its name alone, so no order or random state can leak labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Split(Generic[Item]):
    """Three parts without a common key.

    Attributes:
        training: What the model learns from.
        calibration: For quantization ranges; neither learned from nor judged on.
        evaluation: Held out; accuracy is measured on it.
    """

    training: tuple[Item, ...]
    calibration: tuple[Item, ...]
    evaluation: tuple[Item, ...]


def split(
    items: Iterable[Item], key: Callable[[Item], str], *, evaluation: int = 10, calibration: int = 3
) -> Split[Item]:
    """Split by a hash of each item's key; items that share a key stay together.

    Args:
        items: What to split.
        key: Names an item, or the group it must not be torn from.
        evaluation: Percent held out for evaluation.
        calibration: Percent held out for calibration.
    """
    training, calibrating, held_out = [], [], []
    for item in items:
        percentile = rank(key(item)) % 100
        if percentile < evaluation:
            held_out.append(item)
        elif percentile < evaluation + calibration:
            calibrating.append(item)
        else:
            training.append(item)
    return Split(tuple(training), tuple(calibrating), tuple(held_out))


def sample(items: Iterable[Item], key: Callable[[Item], str], count: int) -> list[Item]:
    """At most ``count`` items, chosen and ordered by a hash of their keys."""
    return sorted(items, key=lambda item: (rank(f"sample {key(item)}"), key(item)))[:count]


def rank(key: str) -> int:
    """A number that looks random and is the same everywhere."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")
