"""A new process, up to its first embedding; and what the import alone costs."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import child

GOAL_SECONDS, GOAL_PEAK_MB, GOAL_IMPORT_SECONDS = 0.30, 130, 0.15
WARM_UPS = 2  # the first ones read the disk

FIRST_EMBEDDING = """
import sys, time
from edgekit.runtime import load
model = load(sys.argv[1])
vectors = model.embed(["The film was dreadful."])
print(time.monotonic_ns())
assert vectors.shape == (1, 384), vectors.shape
"""


def measure(bundle: Path, *, runs: int) -> dict[str, Any]:
    """Medians over ``runs`` processes of each kind, the kinds taking turns."""
    first: list[float] = []
    peak: list[float] = []
    whole: list[float] = []
    imported: list[float] = []
    bare: list[float] = []
    for turn in range(WARM_UPS + runs):
        # CLOCK_MONOTONIC is one clock for all processes: the child says when it had its answer.
        start = time.monotonic_ns()
        cost = child.run([sys.executable, "-c", FIRST_EMBEDDING, str(bundle)])
        end = int(cost.output)
        with_import = child.run([sys.executable, "-c", "import edgekit.runtime"]).seconds
        without = child.run([sys.executable, "-c", "pass"]).seconds
        if turn >= WARM_UPS:
            first.append((end - start) / 1e9)
            peak.append(cost.peak_mb)
            whole.append(cost.seconds)
            imported.append(with_import)
            bare.append(without)
    return {
        "runs": runs,
        "first_embedding_s": _median(first),
        "first_embedding_range_s": [round(min(first), 3), round(max(first), 3)],
        "peak_mb": round(statistics.median(peak), 1),
        "process_s": _median(whole),
        "import_s": round(statistics.median(imported) - statistics.median(bare), 3),
        "bare_python_s": _median(bare),
    }


def render(result: dict[str, Any]) -> str:
    """A table."""
    low, high = result["first_embedding_range_s"]
    return (
        f"\nCold start, median of {result['runs']} processes\n"
        f"  to the first embedding   {result['first_embedding_s']:6.3f} s    "
        f"(at most {GOAL_SECONDS:.2f}; {low:.3f}..{high:.3f})\n"
        f"  peak memory              {result['peak_mb']:6.1f} MB   (at most {GOAL_PEAK_MB})\n"
        f"  import edgekit.runtime   {result['import_s']:6.3f} s    "
        f"(under {GOAL_IMPORT_SECONDS}; beyond bare Python's {result['bare_python_s']:.3f})"
    )


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)
