"""What a figure was measured on: figures of unlike machines are not compared."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")
PACKAGES = ("edgekit", "onnxruntime", "numpy", "tokenizers", "torch", "transformers", "sentence-transformers")


def collect() -> dict[str, Any]:
    """CPU, cores, system, versions and date; no names of this machine or its folders."""
    text = _cpuinfo()
    flags = set(re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)[1].split()) if text else set()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": name[1] if name else platform.processor() or platform.machine(),
        "cpu_features": sorted(flags.intersection(FEATURES)),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES if _version(name)},
    }


def describe(facts: dict[str, Any]) -> str:
    """Two lines for people."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    load = facts["load_1min"]
    busy = f"; load {load}: other work disturbs the times" if load is not None and load > facts["cores"] / 2 else ""
    return (
        f"{facts['cpu']} ({', '.join(facts['cpu_features'])}), {facts['cores']} cores, "
        f"{facts['system']}, {facts['date']}{busy}\nPython {facts['python']}, {versions}"
    )


def result_file(facts: dict[str, Any], *parts: str) -> Path:
    """Where a run's results go: a new file in benchmarks/results, named after date, CPU and what was measured.

    What an earlier run of the same day found stays: the second is numbered.
    """
    folder = Path(__file__).resolve().parent / "results"
    folder.mkdir(exist_ok=True)
    name = "-".join((_slug(facts), *parts))
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    return next(path for path in (folder / f"{name}{ending}.json" for ending in endings) if not path.exists())


def _slug(facts: dict[str, Any]) -> str:
    """Date and CPU."""
    cpu = re.sub(r"[^a-z0-9]+", "-", facts["cpu"].lower()).strip("-")
    best = next(
        (feature for feature in ("avx512_vnni", "avx_vnni", "avx2", "asimddp") if feature in facts["cpu_features"]), ""
    )
    return f"{facts['date']}-{cpu}{'-' + best if best else ''}"


def _cpuinfo() -> str:
    if sys.platform != "linux":
        return ""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return text if re.search(r"^(?:flags|Features)\s*:", text, re.MULTILINE) else ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
