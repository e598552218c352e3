"""Which operators a bundle's graphs are made of, and who runs them: as they lie in the files, and as they are run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from edgekit.checks.findings import NOTE, Finding, outcome
from edgekit.checks.processes import ask_once, opening
from edgekit.checks.sides import Sides
from edgekit.errors import HostError
from edgekit.spec.provider import CPU

NAMED: Final = 6


def graphs(sides: Sides, threads: int) -> tuple[list[Finding], dict[str, Any]]:
    """Compare the graphs of every pair; a pair that this machine cannot open is only noted.

    Raises:
        IntegrityError: A graph cannot be read.
    """
    found: list[Finding] = []
    facts: dict[str, Any] = {}
    for pair in sides.pairs:
        try:
            new = ask_once(opening("graph", sides.new.root, pair.new.name, threads=threads))
            old = new
            if not sides.same_graphs(pair):
                old = ask_once(opening("graph", sides.old.root, pair.old.name, threads=threads))
        except HostError as error:
            found.append(Finding("graph", pair.name, NOTE, detail=f"not opened on this machine: {error.message}"))
            continue
        facts[pair.name] = {"old": old, "new": new}
        found += compare(pair.name, old, new)
    return found, {"graphs": facts}


def compare(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Finding]:
    """Compare what two variants' components are made of.

    A graph may have fewer nodes or others, not more: what a rewrite saves is shown, what it costs fails.

    Args:
        name: Of the pair.
        old: By component ``file``, ``optimized`` and ``placement``; see :mod:`.child`.
        new: Likewise.
    """
    found = []
    for component in dict.fromkeys((*old, *new)):
        before, after = old.get(component, {}), new.get(component, {})
        where = name if component == "model" else f"{name}, {component}"
        for part, words in (("file", "nodes in the file"), ("optimized", "nodes that run")):
            counts = [Counter(side.get(part, {})) for side in (before, after)]
            found.append(_counted(f"{where}: {words}", *counts))
        found += _placed(where, before.get("placement"), after.get("placement"))
    return found


def _counted(name: str, before: Counter[str], after: Counter[str]) -> Finding:
    more = outcome(holds=after.total() <= before.total())
    return Finding("graph", name, more, str(before.total()), str(after.total()), difference(before, after))


def difference(before: Counter[str], after: Counter[str]) -> str:
    """The operators whose number changed most."""
    changed = {name: after[name] - before[name] for name in before | after if after[name] != before[name]}
    named = sorted(changed, key=lambda name: (-abs(changed[name]), name))
    rest = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(f"{changed[name]:+d} {name.removeprefix('ai.onnx.')}" for name in named[:NAMED]) + rest


def _placed(name: str, before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> list[Finding]:
    if before is None or after is None:
        return [Finding("graph", f"{name}: providers", NOTE, detail="this onnxruntime does not tell")]
    was, is_now = (
        ", ".join(f"{count} {provider.removesuffix('ExecutionProvider')}" for provider, count in sorted(side.items()))
        for side in (before, after)
    )
    # Where the CPU runs everything there is nothing that could have moved to it.
    moved = set(before) | set(after) != {CPU} and after.get(CPU, 0) > before.get(CPU, 0)
    return [Finding("graph", f"{name}: providers", outcome(holds=not moved), was, is_now)]
