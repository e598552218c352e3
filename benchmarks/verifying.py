"""What verifying costs: beside sha256 of the same bytes, and in the load of a bundle.

    .venv/bin/python benchmarks/verifying.py BUNDLE [--bytes 1000000000] [--rounds 7]

Two comparisons, each of fresh processes taking turns in random order, medians and ratios of one round. A copy of the
bundle that is filled up to so many bytes is verified, and its files are read and hashed by a bare loop.
The bundle itself is loaded, and loaded by a process in which hashing does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from child import run
from host_facts import collect, describe

from edgekit.bundle.reading import MANIFEST_NAME
from edgekit.spec.checksum import seal

VERIFY = """
import sys, time
from edgekit.bundle.reading import Bundle
start = time.perf_counter()
Bundle.open(sys.argv[1]).verify()
print(time.perf_counter() - start)
"""
HASH = """
import hashlib, os, sys, time
from edgekit.bundle.reading import Bundle
start = time.perf_counter()
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as stream:
            hashlib.file_digest(stream, "sha256").hexdigest()
print(time.perf_counter() - start)
"""
IMPORT = "import edgekit.bundle.reading; print(0)"
LOAD = """
import sys, time
import onnxruntime, tokenizers
from edgekit.runtime import load
start = time.perf_counter()
load(sys.argv[1])
print(time.perf_counter() - start)
"""
UNVERIFIED = """
import types
import edgekit.bundle.reading as reading
sha256 = lambda data=b"": types.SimpleNamespace(update=lambda chunk: None, hexdigest=lambda: "")
reading.hashlib = types.SimpleNamespace(sha256=sha256)
reading._check_content = lambda entry, size, sha256: None
""" + LOAD  # fmt: skip
BALLAST = "evidence/ballast.bin"


def main() -> None:
    """Measure and print, as text and as a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(describe(collect()))
    with tempfile.TemporaryDirectory(dir=arguments.bundle.resolve().parent) as scratch:
        large = _filled(arguments.bundle, Path(scratch, "large"), arguments.bytes)
        large_costs = _rounds({"verify": VERIFY, "sha256": HASH, "import": IMPORT}, large, arguments.rounds)
    load_costs = _rounds({"verified": LOAD, "unverified": UNVERIFIED}, arguments.bundle, 3 * arguments.rounds)
    result = {
        "bytes": arguments.bytes,
        "speed of sha256": round(_ratio(large_costs["sha256"], large_costs["verify"]), 3),
        "verify_s": round(_median(large_costs["verify"]), 3),
        "sha256_s": round(_median(large_costs["sha256"]), 3),
        "peak_mb_above_the_import": round(_peak(large_costs["verify"]) - _peak(large_costs["import"]), 1),
        "load_ms": round(1e3 * _median(load_costs["verified"]), 1),
        "load_unverified_ms": round(1e3 * _median(load_costs["unverified"]), 1),
        "verification_ms": round(
            1e3 * statistics.median(
                one[0] - other[0] for one, other in zip(load_costs["verified"], load_costs["unverified"], strict=True)
            ),
            1,
        ),
    }  # fmt: skip
    print(
        f"a bundle of {arguments.bytes / 1e9:g} GB is verified at {result['speed of sha256']} of the speed of sha256,"
    )
    print(f"with {result['peak_mb_above_the_import']} MB above the import")
    print(f"load() takes {result['load_ms']} ms, of them verification {result['verification_ms']} ms")
    print(json.dumps(result))


Costs = list[tuple[float, float]]
"""Seconds that a process printed, and its peak memory in MB, by round."""


def _rounds(programs: dict[str, str], bundle: Path, rounds: int) -> dict[str, Costs]:
    costs: dict[str, Costs] = {name: [] for name in programs}
    order = random.Random(0)  # noqa: S311 - an order, no secret
    for number in range(rounds + 1):
        for name in order.sample(sorted(programs), len(programs)):
            cost = run([sys.executable, "-c", programs[name], str(bundle)])
            if number:  # the first round warms the disk's cache
                costs[name].append((float(cost.output), cost.peak_mb))
    return costs


def _median(costs: Costs) -> float:
    return statistics.median(seconds for seconds, _ in costs)


def _peak(costs: Costs) -> float:
    return statistics.median(peak for _, peak in costs)


def _ratio(ones: Costs, others: Costs) -> float:
    return statistics.median(one[0] / other[0] for one, other in zip(ones, others, strict=True))


def _filled(bundle: Path, folder: Path, size: int) -> Path:
    """A copy of a bundle with one file more, so that it has so many bytes."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    left = size - sum(entry["size"] for entry in manifest["files"])
    piece = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with (folder / BALLAST).open("wb") as stream:
        for start in range(0, left, len(piece)):
            part = piece[: left - start]
            stream.write(part)
            digest.update(part)
    manifest["files"].append({"path": BALLAST, "size": left, "sha256": digest.hexdigest()})
    manifest["files"].sort(key=lambda entry: entry["path"])
    (folder / MANIFEST_NAME).write_bytes(seal(json.dumps(manifest, indent=1).encode(), MANIFEST_NAME))
    return folder


if __name__ == "__main__":
    main()
