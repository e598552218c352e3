"""What stands beside the answers: what the bundle is, and what its evidence says of parity and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgekit.bundle.evidence import find_parity_evidence
from edgekit.runtime import Model
from edgekit.spec.evidence import Searched
from edgekit.spec.parity import Check

MAX_EVIDENCE_BYTES: Final = 16 << 20
NO_TIMES: Final = (
    "The bundle holds no times: they would be another machine's. Under an answer stands how long it took here."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is told about a bundle.

    Attributes:
        title: Its name and version.
        rows: Name and value, for people.
        verdict: Of the variant's parity; empty where the bundle holds no evidence.
        checks: Of the variant's parity: what was measured, the end of its interval that was judged, the bound.
        reason: Why the verdict is not ``pass``, where it is not.
        times: Of the search that chose the variant: recipe and milliseconds, where one was timed.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    verdict: str
    checks: tuple[tuple[str, str, str], ...]
    reason: str
    times: tuple[tuple[str, str], ...]


def gather(model: Model) -> Facts:
    """Read an open bundle's evidence, verified, and say what it tells of the variant that is open.

    Raises:
        IntegrityError: The evidence is not what the manifest lists.
        RecordError: It is not what it says it is.
    """
    manifest, variant = model.manifest, model.variant
    evidence = find_parity_evidence(model.bundle, max_bytes=MAX_EVIDENCE_BYTES)
    judged = evidence.variants.get(variant.name) if evidence else None
    size = sum(entry.size for entry in manifest.files)
    rows = [
        ("task", manifest.task),
        ("variant", f"{variant.name}, made by {variant.recipe}"),
        ("for", ", ".join(variant.targets)),
        ("runs on", f"{model.host.cpu_name} ({model.host.architecture})"),
        ("bundle", f"{size / 1e6:.1f} MB, every file that is used verified"),
        ("source", f"{manifest.source.name} @ {manifest.source.revision[:12]}"),
        ("licence", manifest.source.license),
    ]
    facts = dict(evidence.facts) if evidence else {}
    rows += [(name, facts[name]) for name in ("reference", "judged with", "judged on") if name in facts]
    return Facts(
        title=f"{manifest.name} {manifest.version}",
        rows=tuple((name, value) for name, value in rows if value),
        verdict=judged.parity.verdict if judged else "",
        checks=tuple(map(_row, judged.parity.checks)) if judged else (),
        reason=judged.parity.reason if judged and judged.parity.verdict != "pass" else "",
        times=_times(evidence.search, variant.targets) if evidence else (),
    )


def markdown(facts: Facts) -> str:
    """The facts as Markdown; everything from the bundle is escaped, so that it is text and no markup."""
    lines = [f"## {escaped(facts.title)}", "", table_of(["", ""], facts.rows)]
    lines += ["", f"### Parity: {facts.verdict or 'no evidence in this bundle'}", ""]
    if facts.checks:
        lines.append(table_of(["check", "judged value", "bound"], facts.checks))
    if facts.reason:
        lines += ["", escaped(facts.reason)]
    lines += ["", "### Time", ""]
    if facts.times:
        lines.append(table_of(["tried", "ms, when the bundle was made"], facts.times))
    else:
        lines.append(NO_TIMES)
    return "\n".join(lines)


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts that are no markup."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(escaped, row))} |" for row in rows)])


def escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+!|$~" else letter for letter in plain)


def _row(check: Check) -> tuple[str, str, str]:
    return check.name, f"{check.measured:.4g}", f"{check.bound:.4g}"


def _times(search: Sequence[Searched], targets: Sequence[str]) -> tuple[tuple[str, str], ...]:
    own = [one for one in search if set(one.targets) & set(targets) and one.latency_ms is not None]
    return tuple(
        (f"{one.recipe}{', chosen' if one.reason else ''}", f"{one.latency_ms:.1f}")
        for one in own
        if one.latency_ms is not None
    )
