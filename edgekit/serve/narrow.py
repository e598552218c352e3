"""Whether a bundle is asked narrow too: with one thread a call, several calls side by side. Decided at the start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgekit.runtime.memory import available_bytes
from edgekit.runtime.trying import COPIES_OF_WEIGHTS, weight_bytes
from edgekit.serve import gain
from edgekit.serve.width import Widths
from edgekit.spec.provider import CPU
from edgekit.spec.settings.generation import GenerationSettings

if TYPE_CHECKING:
    from edgekit.runtime import Model

# No more than level: what reads requests takes a core from a wide call's threads, which is not in this measurement.
WORTH_IT: Final = 1.0
OF_FREE_MEMORY: Final = 0.5  # what a second session may take of it: answers and other bundles need some as well


@dataclass(frozen=True, slots=True)
class Narrow:
    """What was decided.

    Attributes:
        why: In words, for people.
        gain: How many times as many inputs a second narrow calls gave as wide ones; None where it was not measured.
        model: The model with one thread; None where all calls are wide.
        calls: Narrow calls at a time; 0 without a model.
    """

    why: str
    gain: float | None = None
    model: Model | None = None
    calls: int = 0

    def widths(self, wide: Model, calls: int) -> Widths:
        """How calls are asked.

        Args:
            wide: The model with all threads.
            calls: Calls of it at a time, where none is narrow.
        """
        if self.model is None or self.gain is None:
            return Widths(wide, calls=calls)
        # All narrow calls together gain that much, a part of them that part of it.
        return Widths(wide, self.model, calls=self.calls, narrow_from=max(2, math.ceil(self.calls / self.gain)))

    def close(self) -> None:
        """Give the memory of the model with one thread back."""
        if self.model is not None:
            self.model.close()

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"calls": self.calls, "gain": self.gain, "why": self.why}


def decide(model: Model, batch: int, *, fixed: bool) -> Narrow:
    """Open a bundle a second time with one thread, and keep that if it answers more that way.

    Args:
        model: The open bundle, which is asked wide.
        batch: Inputs of several requests that share a call.
        fixed: Whether somebody said how many calls there are at a time.

    Raises:
        EdgekitError: The bundle cannot be opened a second time, or a call failed.
    """
    reason = "--calls fixes how it is asked" if fixed else _against(model, available_bytes())
    if reason:
        return Narrow(reason)
    narrow = model.with_threads(1)
    try:
        batch = min(batch, max(gain.SIZES))
        inputs = [model.golden()[0].input] * batch
        ratio = gain.side_by_side(
            lambda: model.raw(inputs, batch_size=batch), lambda: narrow.raw(inputs, batch_size=batch), model.threads
        )
    except BaseException:
        narrow.close()
        raise
    if ratio is not None and ratio >= WORTH_IT:
        return Narrow("measured no slower", ratio, narrow, model.threads)
    narrow.close()
    return Narrow("measured slower" if ratio is not None else "too slow to be measured", ratio)


def _against(model: Model, available: int | None) -> str:
    """Why it is not even tried; empty where it is."""
    manifest, variant = model.manifest, model.variant
    if model.threads == 1:
        return "there is one thread"
    if GenerationSettings.key in manifest.settings:
        return "it writes text, whose steps take turns"
    if any(manifest.targets[target].execution_provider != CPU for target in variant.targets):
        return "it does not run on the CPU"
    if available is not None and COPIES_OF_WEIGHTS * weight_bytes(manifest, variant) > OF_FREE_MEMORY * available:
        return "not enough memory is free for a second session"
    return ""
