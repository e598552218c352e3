"""A new process, up to its first answer, for a bundle of every task."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import child

GOAL_SECONDS, GOAL_PEAK_MB = 0.30, 130
WARM_UPS = 2  # the first ones read the disk

# The bundle's own golden input, asked as a program would ask it; the time to read it comes off.
FIRST_ANSWER = """
import sys, time
from edgekit.runtime import load
model = load(sys.argv[1])
began = time.monotonic_ns()
asked = model.golden()[0].input
reading = time.monotonic_ns() - began
model.raw([asked])
print(time.monotonic_ns() - reading)
"""

# The least any program pays for these files: sessions and tokenizer, nothing verified, nothing asked, no edgekit.
BARE_SESSIONS = """
import sys, time
import numpy, onnxruntime
if sys.argv[1]:
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(sys.argv[1])
sessions = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in sys.argv[2:]]
print(time.monotonic_ns())
"""


def measure(bundles: Path, *, runs: int) -> dict[str, Any]:
    """Medians over ``runs`` processes for each bundle in the folder, all taking turns.

    Tasks that no bundle is for get one of a tiny random model first.
    """
    child.run([sys.executable, "-P", str(Path(__file__).with_name("task_bundles.py")), str(bundles)], show=True)
    paths = sorted((path.parent for path in bundles.glob("*/edgekit.json")), key=_order)
    starts: dict[str, list[float]] = {path.name: [] for path in paths}
    peaks: dict[str, list[float]] = {path.name: [] for path in paths}
    floors: dict[str, list[float]] = {path.name: [] for path in paths}
    for turn in range(WARM_UPS + runs):
        for path in paths:
            seconds, peak_mb = _start(FIRST_ANSWER, str(path))
            floor, _ = _start(BARE_SESSIONS, *_files(path))
            if turn >= WARM_UPS:
                starts[path.name].append(seconds)
                peaks[path.name].append(peak_mb)
                floors[path.name].append(floor)
    manifests = {path.name: json.loads((path / "edgekit.json").read_bytes()) for path in paths}
    return {
        "runs": runs,
        "bundles": {
            name: {
                "task": manifest["task"],
                "size_mb": round(sum(entry["size"] for entry in manifest["files"]) / 1e6, 1),
                "first_answer_s": round(statistics.median(starts[name]), 3),
                "bare_sessions_s": round(statistics.median(floors[name]), 3),
                "peak_mb": round(statistics.median(peaks[name]), 1),
            }
            for name, manifest in manifests.items()
        },
    }


def render(result: dict[str, Any]) -> str:
    """A table."""
    lines = [
        f"\nCold start by task, median of {result['runs']} processes (at most {GOAL_SECONDS} s, {GOAL_PEAK_MB} MB)"
    ]
    columns = f"{'size MB':>8}{'first answer s':>16}{'bare sessions s':>17}{'peak MB':>9}"
    lines += [f"  {'task':32}{'bundle':44}{columns}"]
    lines += [
        f"  {row['task']:32}{name:44}{row['size_mb']:8.1f}{row['first_answer_s']:16.3f}{row['bare_sessions_s']:17.3f}"
        f"{row['peak_mb']:9.1f}"
        for name, row in result["bundles"].items()
    ]
    return "\n".join(lines)


def _order(bundle: Path) -> tuple[str, str]:
    return json.loads((bundle / "edgekit.json").read_bytes())["task"], bundle.name


def _start(program: str, *arguments: str) -> tuple[float, float]:
    """Seconds to what the program says is its end, and its peak memory in MB."""
    begin = time.monotonic_ns()  # one clock for all processes
    cost = child.run([sys.executable, "-P", "-c", program, *arguments])
    return (int(cost.output) - begin) / 1e9, cost.peak_mb


def _files(bundle: Path) -> list[str]:
    """The tokenizer, or nothing, and the graphs."""
    manifest = json.loads((bundle / "edgekit.json").read_bytes())
    variant = manifest["variants"][0]
    names = [entry["path"] for entry in manifest["files"]]
    tokenizer = next((str(bundle / name) for name in names if name.endswith("tokenizer.json")), "")
    return [tokenizer, *(str(bundle / variant["folder"] / graph) for graph in variant["graphs"].values())]
