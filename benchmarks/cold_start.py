"""A new process, up to its first embedding; and what the import alone costs."""

from __future__ import annotations

import json
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

# The least any program pays for this file: no verification, nothing of edgekit.
BARE_SESSION = """
import sys, time
import numpy as np
import onnxruntime
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
ids = np.array([tokenizer.encode("The film was dreadful.").ids])
feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
print(time.monotonic_ns())
"""


def measure(bundle: Path, *, runs: int) -> dict[str, Any]:
    """Medians over ``runs`` processes of each kind, the kinds taking turns."""
    manifest = json.loads((bundle / "edgekit.json").read_bytes())
    variant = manifest["variants"][0]
    files = [
        bundle / variant["folder"] / variant["graphs"]["model"],
        bundle / manifest["settings"]["text"]["tokenizer"],
    ]
    first: list[float] = []
    floor: list[float] = []
    peak: list[float] = []
    whole: list[float] = []
    imported: list[float] = []
    bare: list[float] = []
    for turn in range(WARM_UPS + runs):
        # CLOCK_MONOTONIC is one clock for all processes: the child says when it had its answer.
        start = time.monotonic_ns()
        cost = child.run([sys.executable, "-P", "-c", FIRST_EMBEDDING, str(bundle)])
        end = int(cost.output)
        start_bare = time.monotonic_ns()
        end_bare = int(child.run([sys.executable, "-P", "-c", BARE_SESSION, *map(str, files)]).output)
        with_import = child.run([sys.executable, "-P", "-c", "import edgekit.runtime"]).seconds
        without = child.run([sys.executable, "-P", "-c", "pass"]).seconds
        if turn >= WARM_UPS:
            first.append((end - start) / 1e9)
            floor.append((end_bare - start_bare) / 1e9)
            peak.append(cost.peak_mb)
            whole.append(cost.seconds)
            imported.append(with_import)
            bare.append(without)
    return {
        "runs": runs,
        "first_embedding_s": _median(first),
        "first_embedding_range_s": [round(min(first), 3), round(max(first), 3)],
        "bare_session_s": _median(floor),
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
        f"  the same, bare session   {result['bare_session_s']:6.3f} s    "
        f"(onnxruntime and tokenizers alone, nothing verified: the floor here)\n"
        f"  peak memory              {result['peak_mb']:6.1f} MB   (at most {GOAL_PEAK_MB})\n"
        f"  import edgekit.runtime   {result['import_s']:6.3f} s    "
        f"(under {GOAL_IMPORT_SECONDS}; beyond bare Python's {result['bare_python_s']:.3f})"
    )


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)
