"""When to stop measuring a ratio, and what to say of it then.

Blocks come one after the other; after some of them, at the looks, the interval of the ratio is computed. Each look may
miss with its own small probability, and these add up to what the whole may: Bonferroni's inequality, which holds
whatever the looks have in common. So stopping at the first clear look keeps the stated error rates, with no assumption
about the noise but that a block's difference is as likely to err one way as the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekit.checks.statistics import Shift, shift

MISS: Final = 0.05  # of a false fail in the whole run, and of a false pass
LOOKS: Final = ((8, 0.2), (12, 0.3), (20, 0.5))  # after so many blocks, this share of MISS

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much slower the new bundle is at something.

    Attributes:
        estimate: New over old; 1 where they are equal.
        low: The interval's lower end; 0 where the blocks are too few for one.
        high: Its upper end; ``inf`` likewise.
        control: The old bundle over itself, estimated from the same blocks.
        verdict: ``pass``, ``fail`` or ``inconclusive``.
    """

    estimate: float
    low: float
    high: float
    control: float
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values; an open end is null."""
        return {
            "estimate": round(self.estimate, 5),
            "low": round(self.low, 5) if self.low > 0 else None,
            "high": round(self.high, 5) if math.isfinite(self.high) else None,
            "control": round(self.control, 5),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Block:
    """What one block of processes tells of one measure.

    Attributes:
        difference: Mean logarithm of the new bundle's times less that of the old one's.
        control: Logarithm of the old bundle's time in one process less that in another.
    """

    difference: float
    control: float


def due(count: int) -> bool:
    """Whether there is a look after so many blocks."""
    return any(count == at for at, _ in LOOKS)


def last() -> int:
    """Blocks of a whole run."""
    return LOOKS[-1][0]


def judge(blocks: Mapping[str, Sequence[Block]], margin: float, *, final: bool) -> dict[str, Ratio]:
    """Look at what was measured.

    A measure fails where the interval lies above the margin, and passes where it lies below. All measures must pass
    for the bundle to pass, so that none spends more for it; any may fail it, so that they share what a fail may spend.

    Args:
        blocks: By measure, equally many each.
        margin: How much slower is still alike, as 0.05.
        final: Whether no look comes after this one, for time is over: it may miss by all that is left.
    """
    count = len(next(iter(blocks.values())))
    miss = MISS * _share(count, final=final)
    limit = math.log1p(margin)
    return {name: _ratio(found, limit, miss, miss / len(blocks)) for name, found in blocks.items()}


def verdict(ratios: Mapping[str, Ratio]) -> str:
    """Of the whole bundle."""
    found = {ratio.verdict for ratio in ratios.values()}
    return FAIL if FAIL in found else INCONCLUSIVE if INCONCLUSIVE in found else PASS


def _share(count: int, *, final: bool) -> float:
    if not final:
        return next(share for at, share in LOOKS if at == count)
    # Which looks were taken depends on the clock alone, not on what they saw.
    return 1.0 - sum(share for at, share in LOOKS if at < count)


def _ratio(blocks: Sequence[Block], limit: float, pass_miss: float, fail_miss: float) -> Ratio:
    differences = [block.difference for block in blocks]
    narrow, wide = shift(differences, pass_miss), shift(differences, fail_miss)
    control = shift([block.control for block in blocks], pass_miss)
    if _differs(control, limit):
        found = INCONCLUSIVE
    elif wide.low > limit:
        found = FAIL
    else:
        found = PASS if narrow.high < limit else INCONCLUSIVE
    return Ratio(math.exp(narrow.estimate), _exp(wide.low), _exp(narrow.high), math.exp(control.estimate), found)


def _differs(control: Shift, limit: float) -> bool:
    """Whether a bundle seems to differ from itself, by so much that what is measured cannot be the bundles."""
    return (control.low > 0 or control.high < 0) and abs(control.estimate) > limit / 2


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
