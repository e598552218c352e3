"""edgekit beside its peers, in one run: builds what is missing, then measures. See docs/benchmarks.md.

    make bench-peers
    .venv/bin/python -m benchmarks.peers --peers openvino,optimum --models minilm --replicates 11

Standard library until the answers are compared: a child's peak memory starts at its parent's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import host_facts

from . import catalogue, environments
from .catalogue import Peer
from .environments import Pythons, UnavailableError
from .measure import ORIGINAL, Plan, measure
from .models import MODELS
from .render import render

BENCHMARKS = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure what was asked for, print the tables, and keep the result."""
    peers = catalogue.read()
    arguments = _arguments(peers)
    try:
        chosen = catalogue.chosen(peers, arguments.peers)
    except ValueError as error:
        sys.exit(f"--peers: {error}")
    unknown = set(arguments.models) - set(MODELS)
    if unknown:
        sys.exit(f"--models: {', '.join(sorted(unknown))} is not one of {', '.join(MODELS)}")
    root = BENCHMARKS / "envs"
    if arguments.build_only:
        sys.exit(_build(chosen, root))
    plan = Plan(
        peers=chosen,
        models=[MODELS[name] for name in arguments.models],
        replicates=arguments.replicates,
        root=root,
        threads=arguments.threads,
        bundles={"minilm": arguments.bundle.resolve()} if arguments.bundle else {},
        keep_bundles=arguments.keep_bundles,
        say=_say,
    )
    host = host_facts.collect()
    print(host_facts.describe(host))
    try:
        result = {"host": host, "peers": measure(plan)}
    except UnavailableError as error:
        sys.exit(str(error))
    print(render(result["peers"]))
    models = [] if set(arguments.models) == set(MODELS) else arguments.models
    path = arguments.output or host_facts.result_file(host, "bench-peers", *models)
    path.write_text(json.dumps(result, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {path.name} in {path.parent.name}/")


def _build(peers: Sequence[Peer], root: Path) -> str | int:
    """Make the environments; why some could not be made, or 0."""
    pythons, reasons = Pythons(root, environments.read(), say=_say), {}
    for name in (ORIGINAL, *(peer.environment for peer in peers)):
        try:
            _say(f"{name}: {pythons[name]}")
        except UnavailableError as error:
            reasons[name] = f"{name}: {error}"
    return "\n".join(reasons.values()) or 0


def _arguments(peers: Mapping[str, Any]) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip()]

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=names, default=[], help=f"names or beginnings, of: {', '.join(peers)}")
    parser.add_argument("--models", type=names, default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--replicates", type=int, default=7, help="fresh processes of each; 6 give a 95 %% interval")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundle", type=Path, help="a bundle of minilm, instead of exporting one")
    parser.add_argument("--keep-bundles", action="store_true", help="take edgekit's bundles of the last run")
    parser.add_argument("--build-only", action="store_true", help="make the environments and stop")
    parser.add_argument("--output", type=Path, help="JSON file; default results/DATE-CPU-bench-peers-MODELS.json")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
