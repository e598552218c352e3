"""How far an environment may be from this machine, by kernel class: the one table, written into the evidence.

Two machines that are both right do not answer alike to the last digit. Float sums are added up in another order, and
where activations are quantized as they come, a last bit now and then moves one of them over a rounding boundary, which
every later layer carries on (docs/portability-notes.md has the figures behind these).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

FLOAT32: Final = "float32"
FLOAT16: Final = "float16"
U8S8: Final = "int8 products, uint8 by int8"
U8U8: Final = "int8 products, uint8 by uint8"
BLOCKS8: Final = "8-bit blocks"
BLOCKS4: Final = "4-bit blocks"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is allowed where a class of kernels is at work.

    Attributes:
        probe: Largest error of a probe, relative to the largest exact value.
        native_min: Least agreement of an answer with this machine's own.
        drift: How far the mean agreement with the golden answers may lie below that of the best environment.
    """

    probe: float
    native_min: float
    drift: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"probe": self.probe, "native_min": self.native_min, "drift": self.drift}


# Probes: a float32 sum of 70 products is exact to 1e-6; activations in 8 bits cost up to half a percent of the largest
# value in a product of that length, and a saturating or broken kernel costs 20 % and more.
TOLERANCES: Final = {
    FLOAT32: Tolerance(probe=1e-5, native_min=0.9999, drift=1e-4),
    FLOAT16: Tolerance(probe=5e-3, native_min=0.995, drift=1e-3),
    U8S8: Tolerance(probe=0.02, native_min=0.985, drift=5e-3),
    U8U8: Tolerance(probe=0.02, native_min=0.985, drift=5e-3),
    BLOCKS8: Tolerance(probe=0.02, native_min=0.995, drift=2e-3),
    BLOCKS4: Tolerance(probe=0.02, native_min=0.98, drift=5e-3),
}


def tolerance_for(kernels: Iterable[str]) -> Tolerance:
    """The tolerance of a variant with these kernel classes: in each respect that of the loosest."""
    found = [TOLERANCES[name] for name in kernels] or [TOLERANCES[FLOAT32]]
    return Tolerance(
        probe=max(one.probe for one in found),
        native_min=min(one.native_min for one in found),
        drift=max(one.drift for one in found),
    )
