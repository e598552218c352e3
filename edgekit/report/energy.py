"""Energy of an answer, where the host counts it: Intel's RAPL, which Linux shows under ``/sys/class/powercap``.

A counter is of a whole processor package: what else runs there counts too, and so does what the package takes at rest.
AMD's packages are shown there as well. Elsewhere, and where only root may read the counters, nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COUNTERS: Final = Path("/sys/class/powercap")
LEAST_S: Final = 3.0  # counters tick about once a millisecond


@dataclass(frozen=True, slots=True)
class Energy:
    """What answering takes.

    Attributes:
        joules: Of one call, the processor packages' whole.
        calls: How many were asked.
        seconds: How long that took.
    """

    joules: float
    calls: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"joules": self.joules, "calls": self.calls, "seconds": self.seconds}


def measure(
    call: Callable[[], object],
    *,
    folder: Path = COUNTERS,
    least_s: float = LEAST_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Energy | None:
    """Call again and again, and read the counters before and after.

    Args:
        call: What to measure.
        folder: Where the counters are.
        least_s: How long, at least, seconds.
        clock: Seconds.

    Returns:
        None where this host offers no counters.
    """
    packages = [path for path in sorted(folder.glob("*-rapl:*")) if path.name.count(":") == 1]
    before = _read(packages)
    if not before:
        return None
    began, calls = clock(), 0
    while clock() - began < least_s or not calls:
        call()
        calls += 1
    seconds, after = clock() - began, _read(packages)
    if len(after) != len(before):
        return None
    used = sum((now - then) % wrap for (now, wrap), (then, _) in zip(after, before, strict=True))
    return Energy(used / 1e6 / calls, calls, seconds)


def _read(packages: list[Path]) -> list[tuple[int, int]]:
    """Each package's counter and where it starts again, microjoules; none where one cannot be read."""
    try:
        return [
            (int((path / "energy_uj").read_text()), int((path / "max_energy_range_uj").read_text()) + 1)
            for path in packages
        ]
    except (OSError, ValueError):
        return []
