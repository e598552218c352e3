"""How often ``edgekit check`` finds a bundle that is slower, and how often it accuses one that is not.

    .venv/bin/python benchmarks/check_power.py bundles/minilm --core 0    # an hour

The slower bundle is a copy with a further feed-forward block that changes no answer (``--width`` hidden units), the
equal one a plain copy. Each check is a run of the command with a seed of its own; what it printed is kept in
``--keep``, and a run that is there already is not repeated. Linux, for ``--core``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import host_facts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for the tests' own makers of changed bundles

from tests.integration.changed_bundles import changed_copy, slower_copy  # noqa: E402 - after the line above


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--width", type=int, default=768, help="hidden units of the further block")
    parser.add_argument("--slower", type=int, default=10, help="checks of the slower bundle")
    parser.add_argument("--equal", type=int, default=20, help="checks of the equal one")
    parser.add_argument("--core", type=int, help="the one core that everything runs on")
    parser.add_argument("--keep", type=Path, help="where each check's JSON lies")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    facts = host_facts.collect()
    print(f"{facts['cpu']}, onnxruntime {facts['packages']['onnxruntime']}, {facts['date']}, load {facts['load_1min']}")
    with tempfile.TemporaryDirectory() as folder:
        keep = chosen.keep or Path(folder) / "checks"
        keep.mkdir(exist_ok=True, parents=True)
        copies: dict[str, Callable[[Path], Path]] = {
            "slower": lambda place: slower_copy(chosen.bundle, place, chosen.width),
            "equal": lambda place: changed_copy(chosen.bundle, place),
        }
        bundles = {name: make(Path(folder) / name) for name, make in copies.items()}
        counts = {"slower": chosen.slower, "equal": chosen.equal}
        # Taking turns, so that a slow hour of the machine meets both.
        turns = sorted(((seed / count, name, seed) for name, count in counts.items() for seed in range(1, count + 1)))
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in counts}
        for _, name, seed in turns:
            path = keep / f"{name}-{seed}.json"
            if not path.exists():
                path.write_bytes(_check(bundles[name], chosen.bundle, seed))
            result = json.loads(path.read_bytes())
            found[name].append(result)
            print(f"{name} {seed}: {_told(result)}", file=sys.stderr, flush=True)
    for name, results in found.items():
        if results:
            print(*_summary(name, results), sep="\n")


def _check(bundle: Path, baseline: Path, seed: int) -> bytes:
    command = [sys.executable, "-m", "edgekit", "check", str(bundle), "--baseline", str(baseline), "--seed", str(seed)]
    # A further block is more nodes and more bytes: seen without a clock, and not what is asked here.
    accepted = [part for group in ("size", "graph", "memory") for part in ("--accept", group)]
    return subprocess.run([*command, *accepted, "--json"], stdout=subprocess.PIPE, check=False).stdout


def _told(result: Mapping[str, Any]) -> str:
    latency = result["latency"]
    measures = ", ".join(
        f"{name} {measure['estimate'] - 1:+.1%} ({measure['low'] - 1:+.1%} to {measure['high'] - 1:+.1%})"
        for name, measure in latency["measures"].items()
    )
    return f"{latency['verdict']}: {measures}; {latency['blocks']} blocks, {latency['seconds']:.0f} s"


def _summary(name: str, results: list[dict[str, Any]]) -> list[str]:
    latencies = [result["latency"] for result in results]
    verdicts = Counter(latency["verdict"] for latency in latencies)
    lines = [f"{name}, {len(results)} checks: " + ", ".join(f"{count} {word}" for word, count in verdicts.items())]
    for measure in latencies[0]["measures"]:
        estimates = [latency["measures"][measure]["estimate"] - 1 for latency in latencies]
        noise = [statistics.stdev(latency["measures"][measure]["differences"]) for latency in latencies]
        lines.append(
            f"  {measure}: estimates {min(estimates):+.1%} to {max(estimates):+.1%}, "
            f"median {statistics.median(estimates):+.1%}; noise of a block {statistics.median(noise):.1%}"
        )
    blocks, seconds = ([latency[what] for latency in latencies] for what in ("blocks", "seconds"))
    lines.append(f"  blocks {min(blocks)} to {max(blocks)}, {min(seconds):.0f} to {max(seconds):.0f} s for latency")
    return lines


if __name__ == "__main__":
    main()
