"""Print the figures of README.md, measured on this machine, and keep them in benchmarks/results/.

    make bench
    .venv/bin/python benchmarks/figures.py --only cold,peers

Standard library only: a child's peak memory starts at its parent's, so this process stays small.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cold_start
import device_install
import export_cost
import host_facts
import task_start
from peers import catalogue, models
from peers import measure as comparison
from peers.render import render

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("export", "cold", "tasks", "peers", "install", "demo-install")
DEMO = "Demo: pip install --no-compile 'edgekit[ui]', what an image holds besides Python and the bundle"


def main() -> None:
    """Measure the parts asked for, one after the other: nothing else runs beside a measurement."""
    arguments = _arguments()
    unknown = set(arguments.only) - set(PARTS)
    if unknown:
        sys.exit(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(PARTS)}")
    bundle = arguments.bundle
    result: dict[str, object] = {"host": host_facts.collect()}
    print(host_facts.describe(result["host"]))
    if "export" in arguments.only:
        result["export"] = export_cost.measure(bundle)
        print(export_cost.render(result["export"]))
    if {"cold", "peers"} & set(arguments.only) and not (bundle / "edgekit.json").exists():
        sys.exit(f"{arguments.bundle}: no bundle there; run `make demo`, or measure the part `export` first")
    if "cold" in arguments.only:
        result["cold"] = cold_start.measure(bundle, runs=arguments.runs)
        print(cold_start.render(result["cold"]))
    if "tasks" in arguments.only:
        result["tasks"] = task_start.measure(bundle.parent, runs=arguments.runs)
        print(task_start.render(result["tasks"]))
    if "peers" in arguments.only:
        result["peers"] = comparison.measure(_plan(bundle, arguments.replicates))
        print(render(result["peers"]))
    if "install" in arguments.only:
        result["install"] = device_install.measure(ROOT)
        print(device_install.render(result["install"]))
    if "demo-install" in arguments.only:
        result["demo-install"] = device_install.measure(ROOT, "ui", bytecode=False)
        print(device_install.render(result["demo-install"], DEMO))
    path = arguments.output or host_facts.result_file(result["host"], *(part for part in PARTS if part in result))
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\nwritten to {path.name} in {path.parent.name}/")


def _plan(bundle: Path, replicates: int) -> comparison.Plan:
    """The int8 file beside optimum's; `make bench-peers` holds it against everybody."""
    peers = catalogue.chosen(catalogue.read(), ["edgekit", "optimum"])
    return comparison.Plan(
        peers=[peer for peer in peers if peer.precision == "int8"],
        models=[models.MODELS["minilm"]],
        replicates=replicates,
        root=ROOT / "benchmarks" / "envs",
        bundles={"minilm": bundle.resolve()},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundles" / "minilm", help="made by the part `export`")
    parser.add_argument("--runs", type=int, default=9, help="cold starts; the median is printed")
    parser.add_argument("--replicates", type=int, default=7, help="processes of each side in the comparison")
    parser.add_argument("--output", type=Path, help="JSON file; default benchmarks/results/DATE-CPU-PARTS.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
