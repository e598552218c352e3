"""Train every reference model that is not in the cache yet, and print what each reached: ``make models``."""

from __future__ import annotations

import json
import sys

from edgekit import catalog
from edgekit.spec.model import Trained
from edgekit.stages import train


def main() -> None:
    """Train one after the other; a second run only prints."""
    rows = []
    for card in catalog.models().values():
        if isinstance(card.origin, Trained):
            print(f"{card.name} ...", end="", file=sys.stderr, flush=True)
            folder = train.trained(card, _show)
            print(f"\r{card.name}: {folder}", file=sys.stderr)
            facts = json.loads((folder / train.FINISHED).read_text("utf-8"))
            rows.append(
                (
                    card.name,
                    facts["metric"],
                    f"{facts['value']:.4g}",
                    "; ".join(
                        f"{value:.4g} {label}"
                        for label, value in {**facts["baselines"], **facts["comparisons"]}.items()
                    ),
                    f"{facts['seconds']} s",
                )
            )
    print("| model | held-out | here | baselines | trained in |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _show(done: int, total: int) -> None:
    print(f"\r{done * 100 // total:3} %", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
