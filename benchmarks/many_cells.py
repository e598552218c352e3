"""A matrix of 12 cells (3 tiny random models x 2 targets x 2 recipes): side by side, one after another, and again.

python benchmarks/many_cells.py             matrix with a worker a core, with one worker, and a second identical run
python benchmarks/many_cells.py --exports   12 times `edgekit export` too, which share nothing
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import host_facts

GOAL_FASTER, GOAL_AGAIN = 1.6, 0.05
LAYERS = {"tiny-1": 1, "tiny-2": 2, "tiny-3": 3}
TARGETS = ("x86_64-avx2", "arm64-neon")
RECIPES = ("fp32", "int8-blockwise")
EDGEKIT = (sys.executable, "-P", "-m", "edgekit")


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="many-cells-") as place:
        folder = Path(place)
        for name, layers in LAYERS.items():
            _write_model(folder / name, layers)
        models = "".join(f"[models.{name}]\nallow_unproven = true\n" for name in LAYERS)
        (folder / "matrix.toml").write_text(
            f"targets = {json.dumps(TARGETS)}\nrecipes = {json.dumps(RECIPES)}\n{models}"
        )
        _run(folder / "warm", [*EDGEKIT, "--version"])  # bytecode and the disk's cache
        rounds = [_round(folder, exports=arguments.exports) for _ in range(arguments.rounds)]
    print(render(rounds))


def _round(folder: Path, *, exports: bool) -> dict[str, float]:
    costs = {}
    for name, workers in (("side by side", None), ("one after another", 1)):
        place = folder / name.replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        costs[name] = _matrix(folder, place, workers)
        if workers is None:
            costs["again"] = _matrix(folder, place, workers)
    if exports:
        cells = [(model, target, recipe) for model in LAYERS for target in TARGETS for recipe in RECIPES]
        costs["exports"] = sum(
            _export(folder / model, target, recipe, folder / "exports") for model, target, recipe in cells
        )
    return costs


def _export(model: Path, target: str, recipe: str, place: Path) -> float:
    output = place / model.name / target / recipe
    words = ("export", str(model), "-t", target, "--recipe", recipe, "--allow-unproven", "--replace", "-o", str(output))
    return _run(place, [*EDGEKIT, *words])


def _matrix(folder: Path, place: Path, workers: int | None) -> float:
    more = ["--workers", str(workers)] if workers else []
    return _run(place, [*EDGEKIT, "matrix", str(folder / "matrix.toml"), "-o", str(place / "out"), *more])


def _run(place: Path, command: list[str]) -> float:
    """Run to the end with a cache of its own; Python may keep its bytecode, as it may where edgekit is installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.monotonic()
    done = subprocess.run(
        command, env=environment | {"EDGEKIT_CACHE": str(place / "cache")}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr}\n{done.stdout}")
    return time.monotonic() - start


def _write_model(folder: Path, layers: int) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.integration.checkpoints import write_tiny_checkpoint\n"
        "write_tiny_checkpoint(Path(sys.argv[2]), layers=int(sys.argv[3]))\n"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", script, root, folder, str(layers)], check=True)


def render(rounds: list[dict[str, float]]) -> str:
    """Times of each round, and their ratios."""
    facts: dict[str, Any] = host_facts.collect()
    lines = [host_facts.describe(facts), "", f"{len(LAYERS) * len(TARGETS) * len(RECIPES)} cells, tiny random models"]
    for number, costs in enumerate(rounds, 1):
        lines += ["", f"round {number}"]
        lines += [f"  {name:24} {seconds:7.1f} s" for name, seconds in costs.items()]
        side = costs["side by side"]
        for name in ("one after another", "exports"):
            if name in costs:
                lines.append(f"  {name} / side by side: {costs[name] / side:.2f} (at least {GOAL_FASTER})")
        lines.append(f"  again / side by side: {costs['again'] / side:.3f} (at most {GOAL_AGAIN})")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="how often; the ways take turns")
    parser.add_argument("--exports", action="store_true", help="12 exports one by one too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
