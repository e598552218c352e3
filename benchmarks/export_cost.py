"""Wall time and peak memory of the main job: one checkpoint, every target."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import child

GOAL_SECONDS, GOAL_PEAK_MB = 90, 2000


def measure(bundle: Path) -> dict[str, Any]:
    """Export MiniLM for all targets into ``bundle``, replacing what is there."""
    if (bundle / "edgekit.json").exists():
        shutil.rmtree(bundle)
    cost = child.run([sys.executable, "-m", "edgekit", "export", "minilm", "-t", "all", "-o", str(bundle)], show=True)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return {"seconds": round(cost.seconds, 1), "peak_mb": round(cost.peak_mb), "bundle_mb": round(size / 1e6, 1)}


def render(result: dict[str, Any]) -> str:
    """A table."""
    return (
        "\nedgekit export minilm -t all\n"
        f"  wall time     {result['seconds']:8.1f} s    (at most {GOAL_SECONDS})\n"
        f"  peak memory   {result['peak_mb']:8.0f} MB   (at most {GOAL_PEAK_MB})\n"
        f"  bundle        {result['bundle_mb']:8.1f} MB"
    )
