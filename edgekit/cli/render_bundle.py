"""Tables about a bundle: its variants, what was proved of them, what was tried and left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgekit.cli.render import Mark, bound, digits_for, grid, heading, indented, plain, size, table, verdict
from edgekit.spec.evidence import Attempt, ParityEvidence, Predicted, Searched, VariantEvidence, find_check
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.parity import Check

# The checks that stand in the table an export ends with, and what they are called there.
HEADLINES: Final = {
    "mean cosine": "cosine",
    "nearest-neighbour agreement": "agreement",
    "agreement": "agreement",
    "accuracy lost": "accuracy lost",
    "perplexity ratio": "perplexity ratio",
}


def header(manifest: Manifest, root: Path, evidence: ParityEvidence | None) -> list[RenderableType]:
    """What the bundle is and where it came from."""
    source = manifest.source
    total = sum(entry.size for entry in manifest.files)
    passed = sum(variant.parity == "pass" for variant in manifest.variants)
    title = Text.assemble(
        (manifest.name, "bold"), f" {manifest.version}", (f"  release {manifest.release}  {plain(str(root))}", "dim")
    )
    facts = [
        ("source", source.name),
        ("revision", source.revision),
        ("licence", source.license),
        ("model", source.architecture),
        ("task", manifest.task),
        *(fact for section in manifest.settings.values() for fact in section.facts()),
        ("proved", f"{passed} of {len(manifest.variants)} variants pass"),
        ("size", f"{size(total)} in {len(manifest.files)} files"),
        ("needs", f"onnxruntime {manifest.onnxruntime}"),
        ("made by", ", ".join(f"{name} {version}" for name, version in manifest.generator.items())),
        *(evidence.facts if evidence else ()),
    ]
    return [title, "", grid(facts)]


def search(evidence: ParityEvidence) -> list[RenderableType]:
    """What a search tried, a row each: how close, how large, how fast, and which are beaten by none."""
    groups = dict.fromkeys(one.targets for one in evidence.search)
    facts = [(name, text) for one in evidence.predicted for name, text in _expectation(one)]
    parts: list[RenderableType] = []
    for targets in groups:
        candidates = [one for one in evidence.search if one.targets == targets]
        several = len(groups) > 1
        names = f" for {', '.join(map(plain, targets))}" if several else ""
        parts += [heading(f"Search{names}"), indented(_candidates(candidates))]
        facts += [
            ("chosen", f"{one.recipe}, {one.reason}" if several else one.reason) for one in candidates if one.reason
        ]
    return [*parts, "", grid(facts)]


def _candidates(candidates: Sequence[Searched]) -> Table:
    numbers = ["agreement", "size", "ms"]
    listing = table("recipe", "parity", *numbers, "", numbers=numbers, fold=["recipe"])
    for one in candidates:
        time = f"{one.latency_ms:.1f}" if one.latency_ms is not None else ""
        word = Text("chosen", style="bold green") if one.reason else Text("best of its kind" if one.pareto else "")
        listing.add_row(
            plain(one.recipe), verdict(plain(one.verdict)), f"{one.agreement:.4f}", size(one.size_bytes), time, word
        )
    return listing


def _expectation(predicted: Predicted) -> Iterator[tuple[str, str]]:
    products = f"products take {predicted.share:.0%} of the time and are {predicted.product_gain:.1f} x as fast"
    yield "expected", f"int8 about {predicted.gain:.1f} x as fast as float: {products}"


def variants(manifest: Manifest) -> list[RenderableType]:
    """One row per variant."""
    listing = table("variant", "recipe", "precision", "size", "parity", numbers=["size"], fold=["recipe"])
    for variant in manifest.variants:
        total = size(_graph_bytes(manifest, variant))
        name, recipe, precision = plain(variant.name), plain(variant.recipe), plain(variant.precision)
        listing.add_row(name, recipe, precision, total, verdict(variant.parity))
    return [heading("Variants"), indented(listing)]


def targets(manifest: Manifest, evidence: ParityEvidence | None, here: Sequence[str]) -> list[RenderableType]:
    """Which variant serves which target, and where it was judged.

    Args:
        manifest: The bundle's.
        evidence: What was measured, if the bundle carries it.
        here: Names of the targets this host is.
    """
    listing = table("target", "variant", "judged", "this host")
    for variant in manifest.variants:
        measured = evidence.variants.get(variant.name) if evidence else None
        for name in variant.targets:
            fits = Mark(passed=True) if name in here else ""
            judged = _judged_there(measured, name, on_cpu=manifest.targets[name].on_cpu)
            listing.add_row(plain(name), plain(variant.name), judged, fits)
    return [heading("Targets"), indented(listing)]


def parity(evidence: ParityEvidence) -> list[RenderableType]:
    """Every check of every variant, with its interval."""
    parts: list[RenderableType] = [heading("Parity with the reference")]
    for variant in evidence.variants.values():
        title = Text.assemble((plain(variant.name), "bold"), "  ", verdict(plain(variant.parity.verdict)))
        parts += [Padding(title, (0, 0, 0, 2)), indented(_checks(variant)), ""]
        if variant.changed:
            parts.insert(-1, _line(variant.changed))
        if variant.parity.verdict != "pass":
            parts.insert(-1, _line(variant.parity.reason))
    parts += [Padding(Text(f"unproven: {plain(doubt)}", style="yellow"), (0, 0, 0, 2)) for doubt in evidence.doubts]
    parts.append(_line("A verdict is taken on the worse end of the interval."))
    return parts


def _checks(variant: VariantEvidence) -> Table:
    numbers = ["measured", "95 % interval", "bound"]
    listing = table("check", *numbers, "", numbers=numbers, fold=["check"])
    for check in variant.parity.checks:
        listing.add_row(plain(check.name), *_numbers(check), bound(check), Mark(check.passed))
    return listing


def tried(manifest: Manifest, attempts: Sequence[Attempt]) -> list[RenderableType]:
    """Recipes that were left, and why."""
    if not attempts:
        return []
    listing = table("recipe", "verdict", "targets", "why it was left", fold=["targets", "why it was left"])
    for attempt in attempts:
        everywhere = set(attempt.targets) == set(manifest.targets)
        names = "all" if everywhere else "\n".join(plain(name) for name in attempt.targets)
        listing.add_row(plain(attempt.recipe), verdict(plain(attempt.verdict)), names, plain(attempt.reason))
    return [heading("Tried and left"), indented(listing)]


def summary(manifest: Manifest, evidence: ParityEvidence) -> list[RenderableType]:
    """The table an export ends with: one row per variant."""
    found = {check.name for measured in evidence.variants.values() for check in measured.parity.checks}
    shown = {name: column for name, column in HEADLINES.items() if name in found}
    numbers = ["size", *shown.values()]
    listing = table("variant", "recipe", *numbers, "targets", numbers=numbers, fold=["recipe"])
    for variant in manifest.variants:
        measured = evidence.variants.get(variant.name)
        listing.add_row(
            plain(variant.name),
            plain(variant.recipe.replace("+", " +")),  # so that a narrow terminal folds it there
            size(_graph_bytes(manifest, variant)),
            *(_estimate(measured, name) for name in shown),
            "\n".join(variant.targets),
        )
    return [heading("Variants"), indented(listing)]


def _graph_bytes(manifest: Manifest, variant: Variant) -> int:
    return sum(entry.size for entry in manifest.files if entry.path.startswith(f"{variant.folder}/"))


def _judged_there(measured: VariantEvidence | None, target: str, *, on_cpu: bool) -> Text:
    if not measured or target not in measured.ran_here:
        return Text("not recorded", style="dim")
    if measured.ran_here[target]:
        return Text("on such a CPU" if on_cpu else "on such a device", style="green")
    return Text("on another CPU" if on_cpu else "on a CPU instead", style="yellow")


def _numbers(check: Check) -> tuple[str, str]:
    digits = digits_for(check)
    if not check.interval:
        return f"{check.measured:.{digits}f}", ""
    interval = check.interval
    return f"{interval.estimate:.{digits}f}", f"{interval.low:.{digits}f}..{interval.high:.{digits}f}"


def _estimate(measured: VariantEvidence | None, name: str) -> str:
    check = find_check(measured.parity, name) if measured else None
    return _numbers(check)[0] if check else ""


def _line(text: str) -> Padding:
    return Padding(Text(plain(text), style="dim"), (0, 0, 0, 2))
