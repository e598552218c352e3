"""What a bundle takes: bytes on the disk, bytes of memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgekit.checks.findings import NOTE, Finding, outcome
from edgekit.checks.processes import ask_once, opening
from edgekit.checks.sides import Pair, Sides
from edgekit.spec.manifest import Manifest

SIZE_MARGIN: Final = 0.01
MEMORY_MARGIN: Final = 0.05
STARTS: Final = 3  # of each bundle, in turns; two starts of one bundle differ by a thousandth
FILES_NAMED: Final = 3
MEMORY: Final = {"peak_bytes": "peak of a start", "heap_bytes": "heap after a start"}


def sizes(sides: Sides, margin: float) -> tuple[list[Finding], dict[str, Any]]:
    """Bytes of the bundle and of each variant.

    Args:
        sides: The bundles.
        margin: How much more is still alike.
    """
    new, old = sides.new.manifest, sides.old.manifest
    before, after = _files(old), _files(new)
    found = [_size("bundle", sum(before.values()), sum(after.values()), margin, _grown(before, after))]
    for pair in sides.pairs:
        mine = _within(after, pair.new.folder)
        theirs = _within(before, pair.old.folder)
        found.append(_size(pair.name, sum(theirs.values()), sum(mine.values()), margin, _grown(theirs, mine)))
    return found, {"files": {"old": before, "new": after}}


def memory(sides: Sides, pair: Pair, margin: float, threads: int) -> tuple[list[Finding], dict[str, Any]]:
    """Memory of fresh processes that opened a bundle and answered.

    Raises:
        EdgekitError: A process could not open its bundle.
    """
    facts = starts({"new": (sides.new.root, pair.new.name), "old": (sides.old.root, pair.old.name)}, threads)
    found = []
    for key, name in MEMORY.items():
        medians = facts[key]
        before, after = medians["old"], medians["new"]
        if before is None or after is None:
            found.append(Finding("memory", name, NOTE, detail="not measurable on this system"))
        else:
            found.append(_grew("memory", name, before, after, margin))
    return found, facts


def starts(bundles: Mapping[str, tuple[Path, str]], threads: int) -> dict[str, dict[str, float | None]]:
    """Median memory of starts, in turns: by what of :data:`MEMORY` and by bundle, bytes; None where unknown.

    Args:
        bundles: A folder and a variant by name; all are asked alike, with the golden inputs of the last.
        threads: Of the sessions.

    Raises:
        EdgekitError: A process could not open its bundle.
    """
    asked_of = tuple(path for path, _ in bundles.values())
    requests = {name: opening("start", *bundle, asked_of, threads=threads) for name, bundle in bundles.items()}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in bundles}
    for _ in range(STARTS):
        for name, request in requests.items():
            taken[name].append(ask_once(request))
    return {key: {name: _median([one[key] for one in found]) for name, found in taken.items()} for key in MEMORY}


def megabytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _size(name: str, before: int, after: int, margin: float, grown: str) -> Finding:
    return _grew("size", name, before, after, margin, grown)


def _grew(group: str, name: str, before: float, after: float, margin: float, why: str = "") -> Finding:
    holds = after <= before * (1 + margin)
    change = f"{after / before - 1:+.1%}" if before else "new"
    detail = change if holds else f"{change}, at most {margin:+.0%}" + (f": {why}" if why else "")
    return Finding(group, name, outcome(holds=holds), megabytes(before), megabytes(after), detail)


def _median(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) == len(values) else None


def _files(manifest: Manifest) -> dict[str, int]:
    return {entry.path: entry.size for entry in manifest.files}


def _within(files: Mapping[str, int], folder: str) -> dict[str, int]:
    return {path.removeprefix(f"{folder}/"): size for path, size in files.items() if path.startswith(f"{folder}/")}


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """The files that grew most."""
    grown = {path: size - before.get(path, 0) for path, size in after.items() if size > before.get(path, 0)}
    largest = sorted(grown, key=lambda path: -grown[path])[:FILES_NAMED]
    return ", ".join(f"{path} +{megabytes(grown[path])}" for path in largest)
