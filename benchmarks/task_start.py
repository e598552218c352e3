"""A new process, up to its first answer, for a bundle of every task that is at hand."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import child

WARM_UPS = 2  # the first ones read the disk

# The bundle's own golden input, asked as a program would ask it.
FIRST_ANSWER = """
import sys, time
from edgekit.runtime import load
model = load(sys.argv[1])
model.raw([model.golden()[0].input])
print(time.monotonic_ns())
"""

# What Python, numpy and onnxruntime cost before any model is there.
NOTHING = """
import time
import numpy, onnxruntime
print(time.monotonic_ns())
"""


def measure(bundles: Path, *, runs: int) -> dict[str, Any]:
    """Medians over ``runs`` processes for each bundle in the folder, taking turns with a process that loads none."""
    found = sorted(path.parent for path in bundles.glob("*/edgekit.json"))
    starts: dict[str, list[float]] = {path.name: [] for path in found}
    peaks: dict[str, list[float]] = {path.name: [] for path in found}
    floor: list[float] = []
    for turn in range(WARM_UPS + runs):
        for path in found:
            begin = time.monotonic_ns()
            cost = child.run([sys.executable, "-P", "-c", FIRST_ANSWER, str(path)])
            if turn >= WARM_UPS:
                starts[path.name].append((int(cost.output) - begin) / 1e9)
                peaks[path.name].append(cost.peak_mb)
        begin = time.monotonic_ns()
        end = int(child.run([sys.executable, "-P", "-c", NOTHING]).output)
        if turn >= WARM_UPS:
            floor.append((end - begin) / 1e9)
    manifests = {path.name: json.loads((path / "edgekit.json").read_bytes()) for path in found}
    return {
        "runs": runs,
        "floor_s": round(statistics.median(floor), 3),
        "bundles": {
            name: {
                "task": manifests[name]["task"],
                "size_mb": round(sum(entry["size"] for entry in manifests[name]["files"]) / 1e6, 1),
                "first_answer_s": round(statistics.median(starts[name]), 3),
                "peak_mb": round(statistics.median(peaks[name]), 1),
            }
            for name in starts
        },
    }


def render(result: dict[str, Any]) -> str:
    """A table."""
    lines = [f"\nCold start by task, median of {result['runs']} processes"]
    lines += [f"  {'bundle':24}{'task':28}{'size MB':>8}{'first answer s':>16}{'peak MB':>9}"]
    lines += [
        f"  {name:24}{row['task']:28}{row['size_mb']:8.1f}{row['first_answer_s']:16.3f}{row['peak_mb']:9.1f}"
        for name, row in result["bundles"].items()
    ]
    lines += [f"  Python, numpy and onnxruntime alone: {result['floor_s']:.3f} s"]
    return "\n".join(lines)
