"""Reads ``evidence/parity.json``. Parts a later version adds are left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgekit.spec.parity import Check, Parity
from edgekit.spec.reader import Table

PARITY_EVIDENCE: Final = "evidence/parity.json"


@dataclass(frozen=True, slots=True)
class VariantEvidence:
    """What was measured of one variant.

    Attributes:
        name: The variant's.
        recipe: As resolved.
        size_bytes: Of its graph and weights.
        changed: What the recipe's passes did, in words; may be empty.
        parity: The verdict and its checks.
        ran_here: By target, whether the judging CPU is one.
    """

    name: str
    recipe: str
    size_bytes: int
    changed: str
    parity: Parity
    ran_here: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A recipe that was tried and left."""

    recipe: str
    targets: tuple[str, ...]
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Searched:
    """A candidate of a search; ``latency_ms`` is None where it was not timed, ``reason`` says why it was chosen."""

    recipe: str
    targets: tuple[str, ...]
    verdict: str
    agreement: float
    size_bytes: int
    latency_ms: float | None
    pareto: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """What int8 was expected to bring: ``share`` of the time in products, how much faster those are, and all in all."""

    share: float
    product_gain: float
    gain: float


@dataclass(frozen=True, slots=True)
class ParityEvidence:
    """The whole report.

    Attributes:
        facts: Pairs for people: reference, data, judging CPU.
        doubts: Why the data or the reference cannot prove anything; empty where they can.
        variants: By name.
        tried: In the order they were tried.
        search: The candidates of a search, if there was one.
        predicted: What the search expected of int8, where it could tell.
        data_sha256: Of the data that was judged with; empty where it is not recorded.
    """

    facts: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]
    variants: dict[str, VariantEvidence]
    tried: tuple[Attempt, ...]
    search: tuple[Searched, ...]
    predicted: tuple[Predicted, ...] = ()
    data_sha256: str = ""


def read_evidence(table: Table) -> ParityEvidence:
    """Read the report.

    Raises:
        RecordError: It does not hold what every report holds.
    """
    variants = [_variant(item) for item in table.tables("variants")] if "variants" in table else []
    search = table.table("search") if "search" in table else None
    return ParityEvidence(
        facts=tuple(_facts(table)),
        doubts=table.strings("doubts") if "doubts" in table else (),
        variants={variant.name: variant for variant in variants},
        tried=tuple(_attempt(item) for item in table.tables("tried")) if "tried" in table else (),
        search=tuple(map(_searched, search.tables("candidates"))) if search else (),
        predicted=tuple(map(_predicted, search.tables("predicted"))) if search and "predicted" in search else (),
        data_sha256=table.table("data").string("sha256") if "data" in table else "",
    )


def find_check(parity: Parity, name: str) -> Check | None:
    """The check of that name, if it was made."""
    return next((check for check in parity.checks if check.name == name), None)


def _facts(table: Table) -> list[tuple[str, str]]:
    facts = []
    if "reference" in table:
        reference = table.table("reference")
        facts.append(
            (
                "reference",
                f"{reference.string('library')} {reference.string('architecture')} {reference.string('dtype')}",
            )
        )
    if "data" in table:
        data = table.table("data")
        facts.append(("judged with", f"{data.integer('judged')} inputs of {data.string('name')}"))
    if "rewrites" in table:
        rewrites = table.table("rewrites")
        facts.append(("graph", ", ".join(f"{rewrites.integer(name)} {name}" for name in rewrites.names())))
    if "judged_on" in table:
        host = table.table("judged_on")
        place = ", ".join(host.string(key) for key in ("architecture", "system") if key in host)
        library = f"onnxruntime {host.string('onnxruntime')}" if "onnxruntime" in host else ""
        facts.append(("judged on", f"{host.string('cpu')} ({place}{'; ' if library else ''}{library})"))
    return facts


def _variant(table: Table) -> VariantEvidence:
    return VariantEvidence(
        name=table.string("name"),
        recipe=table.string("recipe"),
        size_bytes=table.integer("size_bytes"),
        changed=table.string("changed", max_length=1 << 16) if "changed" in table else "",
        parity=Parity.read(table.table("parity")),
        ran_here={item.string("name"): item.boolean("runs_here") for item in table.tables("targets")},
    )


def _attempt(table: Table) -> Attempt:
    return Attempt(
        recipe=table.string("recipe"),
        targets=table.strings("targets"),
        verdict=table.string("verdict"),
        reason=table.string("reason", max_length=1 << 16),
    )


def _searched(table: Table) -> Searched:
    return Searched(
        recipe=table.string("recipe"),
        targets=table.strings("targets"),
        verdict=table.string("verdict"),
        agreement=table.number("agreement"),
        size_bytes=table.integer("size_bytes"),
        latency_ms=table.number("latency_ms") if "latency_ms" in table else None,
        pareto=table.boolean("pareto"),
        reason=table.string("reason", max_length=1 << 10),
    )


def _predicted(table: Table) -> Predicted:
    return Predicted(table.number("share"), table.number("product_gain"), table.number("gain"))
