"""Whether a reference tells a paraphrase from a look-alike at all: the built-in triplets."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.spec.parity import share_interval

CHANCE = 0.5  # of the two candidates of a triplet


def at_chance(preferred: Sequence[bool]) -> list[str]:
    """A doubt, where a reference prefers paraphrases no more often than a coin.

    Args:
        preferred: For each triplet, whether it preferred the paraphrase.
    """
    right = sum(preferred)
    if share_interval(right, len(preferred)).low > CHANCE:
        return []
    return [f"the reference prefers a paraphrase to a look-alike in {right} of {len(preferred)} cases: chance level"]
