"""Tables about a bundle: its variants, what was proved of them, what was tried and left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from edgekit.cli.evidence import Attempt, ParityEvidence, VariantEvidence, find_check
from edgekit.cli.render import Mark, bound, digits_for, grid, heading, indented, plain, size, table, verdict
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.parity import Check


def header(manifest: Manifest, root: Path, evidence: ParityEvidence | None) -> list[RenderableType]:
    """What the bundle is and where it came from."""
    source, embedding = manifest.source, manifest.embedding
    total = sum(entry.size for entry in manifest.files)
    length = "unit length" if embedding.normalize else "not normalised"
    title = Text.assemble(
        (manifest.name, "bold"), f" {manifest.version}", (f"  release {manifest.release}  {plain(str(root))}", "dim")
    )
    facts = [
        ("source", source.name),
        ("revision", source.revision),
        ("licence", source.license),
        ("model", source.architecture),
        ("task", manifest.task),
        ("answers", f"{embedding.dimension} dimensions, {embedding.pooling} pooling, {length}"),
        ("reads", f"text, up to {manifest.text.max_length} tokens"),
        ("size", f"{size(total)} in {len(manifest.files)} files"),
        ("needs", f"onnxruntime {manifest.onnxruntime}"),
        ("made by", ", ".join(f"{name} {version}" for name, version in manifest.generator.items())),
        *(evidence.facts if evidence else ()),
    ]
    return [title, "", grid(facts)]


def variants(manifest: Manifest, evidence: ParityEvidence | None, here: Sequence[str]) -> list[RenderableType]:
    """One row per variant and target it serves.

    Args:
        manifest: The bundle's.
        evidence: What was measured, if the bundle carries it.
        here: Names of the targets this host is.
    """
    listing = table("variant", "recipe", "size", "parity", "target", "judged there", "fits here", numbers=["size"])
    for variant in manifest.variants:
        measured = evidence.variants.get(variant.name) if evidence else None
        first = [variant.name, plain(variant.recipe), size(_graph_bytes(manifest, variant)), verdict(variant.parity)]
        for name in variant.targets:
            fits = Mark(passed=True) if name in here else ""
            listing.add_row(*first, name, _judged_there(measured, name), fits)
            first = ["", "", "", Text("")]
    return [heading("Variants"), indented(listing)]


def parity(evidence: ParityEvidence) -> list[RenderableType]:
    """Every check of every variant, with its interval."""
    listing = table(
        "variant", "check", "measured", "95 % interval", "bound", "", numbers=["measured", "95 % interval", "bound"]
    )
    for variant in evidence.variants.values():
        name = variant.name
        for check in variant.parity.checks:
            listing.add_row(plain(name), plain(check.name), *_numbers(check), bound(check), Mark(check.passed))
            name = ""
        listing.add_section()
    parts: list[RenderableType] = [heading("Parity with the reference"), indented(listing)]
    for variant in evidence.variants.values():
        if variant.judged_through != "this file":
            parts.append(_line(f"{variant.name} was judged through its {variant.judged_through}"))
        if variant.parity.verdict != "pass":
            parts.append(_line(f"{variant.name}: {variant.parity.verdict}: {variant.parity.reason}"))
    parts.append(_line("The verdict is taken on the worse end of the interval."))
    return parts


def tried(attempts: Sequence[Attempt]) -> list[RenderableType]:
    """Recipes that were left, and why."""
    if not attempts:
        return []
    listing = table("recipe", "verdict", "targets", "why it was left", fold=["targets", "why it was left"])
    for attempt in attempts:
        listing.add_row(
            plain(attempt.recipe), verdict(attempt.verdict), "\n".join(attempt.targets), plain(attempt.reason)
        )
    return [heading("Tried and left"), indented(listing)]


def summary(manifest: Manifest, evidence: ParityEvidence) -> list[RenderableType]:
    """The table an export ends with: one row per variant."""
    numbers = ["size", "cosine", "agreement"]
    listing = table("variant", "recipe", "size", "cosine", "agreement", "targets", numbers=numbers)
    for variant in manifest.variants:
        measured = evidence.variants.get(variant.name)
        listing.add_row(
            variant.name,
            plain(variant.recipe),
            size(_graph_bytes(manifest, variant)),
            _estimate(measured, "cosine"),
            _estimate(measured, "agreement"),
            "\n".join(variant.targets),
        )
    return [heading("Variants"), indented(listing)]


def _graph_bytes(manifest: Manifest, variant: Variant) -> int:
    return sum(entry.size for entry in manifest.files if entry.path.startswith(f"{variant.folder}/"))


def _judged_there(measured: VariantEvidence | None, target: str) -> Text:
    if not measured or target not in measured.ran_here:
        return Text("not recorded", style="dim")
    return Text("yes", style="green") if measured.ran_here[target] else Text("on another CPU", style="yellow")


def _numbers(check: Check) -> tuple[str, str]:
    digits = digits_for(check)
    if not check.interval:
        return f"{check.measured:.{digits}f}", ""
    interval = check.interval
    return f"{interval.estimate:.{digits}f}", f"{interval.low:.{digits}f} .. {interval.high:.{digits}f}"


def _estimate(measured: VariantEvidence | None, word: str) -> str:
    check = find_check(measured.parity, word) if measured else None
    return _numbers(check)[0] if check else ""


def _line(text: str) -> Padding:
    return Padding(Text(plain(text), style="dim"), (0, 0, 0, 2))
