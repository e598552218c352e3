"""What came of one job: facts of the bundle that was made, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgekit.errors import (
    BudgetError,
    EdgekitError,
    ExportError,
    HostError,
    InconclusiveError,
    InputError,
    IntegrityError,
    OutputError,
    ParityError,
    RecordError,
    UsageError,
)
from edgekit.spec.evidence import ParityEvidence, VariantEvidence, read_evidence
from edgekit.spec.manifest import Manifest
from edgekit.spec.reader import Table, parse_json

RECORD: Final = "outcome.json"
CRASH: Final = "crash"
_MAX_TEXT: Final = 1 << 16

# Of several failures the first of these gives the exit code: nothing is known of damaged files, wrong answers reach
# users unseen, and of what nobody foresaw nothing is known either; what proves nothing yet is the least of all.
SEVERITY: Final = (
    IntegrityError, ParityError, EdgekitError, ExportError, HostError, BudgetError, InputError, UsageError,
    InconclusiveError,
)  # fmt: skip
# What the same facts lead to again. Everything else may be the machine's or the network's, and is tried again.
FINAL: Final = frozenset({ParityError.exit_code, InconclusiveError.exit_code})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no bundle, as :mod:`edgekit.errors` puts it; ``trace`` is of an error that nobody foresaw."""

    kind: str
    exit_code: int
    message: str
    hint: str = ""
    trace: str = ""

    @classmethod
    def of(cls, error: EdgekitError) -> Failure:
        """That of an error."""
        return cls(error.kind, error.exit_code, error.message, error.hint)


@dataclass(frozen=True, slots=True)
class Shipped:
    """One variant of a bundle.

    Attributes:
        name: The variant's.
        recipe: That made it.
        targets: That it serves.
        verdict: ``pass`` or ``unproven``.
        agreement: What the headline agreement measured; None where there is none.
        size_bytes: Of its graphs and weights.
        latency_ms: Of a search; None where nothing was timed.
    """

    name: str
    recipe: str
    targets: tuple[str, ...]
    verdict: str
    agreement: float | None
    size_bytes: int
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        failure: None where it succeeded.
        shipped: Variants of the bundle, if one was made.
        size_bytes: Of the bundle.
        seconds: That the work took where and when it was done.
        peak_bytes: Of memory; None where the system does not tell.
        place: The CPU and system that it was done on.
        cached: Whether an earlier run did it.
    """

    failure: Failure | None = None
    shipped: tuple[Shipped, ...] = ()
    size_bytes: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None
    place: str = ""
    cached: bool = field(default=False, compare=False)

    @property
    def verdict(self) -> str:
        """``pass``, ``unproven`` (shipped so by permission), or the kind of the failure."""
        if self.failure:
            return self.failure.kind
        return "unproven" if any(one.verdict == "unproven" for one in self.shipped) else "pass"

    @property
    def exit_code(self) -> int:
        """0, or that of the failure."""
        return self.failure.exit_code if self.failure else 0

    @property
    def final(self) -> bool:
        """Whether doing it again could only lead to the same."""
        return self.failure is None or self.failure.exit_code in FINAL

    def again(self) -> Outcome:
        """The same, from the cache."""
        return replace(self, cached=True)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        document: dict[str, Any] = {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "variants": [_variant_json(one) for one in self.shipped],
            "size_bytes": self.size_bytes,
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
            "place": self.place,
        }
        if self.failure:
            fields = ("kind", "exit_code", "message", "hint", "trace")
            document["error"] = {name: value for name in fields if (value := getattr(self.failure, name)) != ""}
        return document

    def write(self, folder: Path) -> None:
        """Write it down beside the files of the job."""
        (folder / RECORD).write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")


def read_outcome(folder: Path) -> Outcome:
    """The outcome that a worker wrote.

    Raises:
        OutputError: There is none that can be read: the worker did not get that far.
    """
    try:
        table = parse_json((folder / RECORD).read_bytes(), str(folder / RECORD))
        return Outcome(
            failure=_failure(table.table("error")) if "error" in table else None,
            shipped=tuple(_variant(item) for item in table.tables("variants")),
            size_bytes=table.integer("size_bytes"),
            seconds=table.number("seconds"),
            peak_bytes=None if table.raw("peak_bytes") is None else table.integer("peak_bytes"),
            place=table.string("place"),
        )
    except OSError as error:
        raise OutputError(f"{folder}: holds no outcome: {error.strerror}") from error
    except RecordError as error:
        raise OutputError(error.message) from error


def of_bundle(manifest: Manifest, evidence: Mapping[str, Any]) -> Outcome:
    """What a bundle and its evidence tell."""
    known = read_evidence(
        parse_json(json.dumps(dict(evidence)).encode(), "evidence", max_bytes=1 << 28, max_values=1 << 28)
    )
    return Outcome(
        shipped=tuple(
            Shipped(
                name=variant.name,
                recipe=variant.recipe,
                targets=variant.targets,
                verdict=variant.parity,
                agreement=_agreement(known.variants[variant.name]),
                size_bytes=known.variants[variant.name].size_bytes,
                latency_ms=_latency_ms(known, variant.recipe, variant.targets),
            )
            for variant in manifest.variants
        ),
        size_bytes=sum(entry.size for entry in manifest.files),
    )


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 where all are good; else that of the most severe failure, see :data:`SEVERITY`."""
    found = {outcome.exit_code for outcome in outcomes}
    return next((error.exit_code for error in SEVERITY if error.exit_code in found), 0)


def _agreement(evidence: VariantEvidence) -> float | None:
    for check in evidence.parity.checks:
        if "agreement" in check.name:
            return check.interval.estimate if check.interval else check.measured
    return None


def _latency_ms(evidence: ParityEvidence, recipe: str, targets: tuple[str, ...]) -> float | None:
    for candidate in evidence.search:
        if (candidate.recipe, candidate.targets) == (recipe, targets):
            return candidate.latency_ms
    return None


def _variant_json(one: Shipped) -> dict[str, Any]:
    return {
        "name": one.name,
        "recipe": one.recipe,
        "targets": list(one.targets),
        "verdict": one.verdict,
        "agreement": one.agreement,
        "size_bytes": one.size_bytes,
        "latency_ms": one.latency_ms,
    }


def _variant(table: Table) -> Shipped:
    return Shipped(
        name=table.string("name"),
        recipe=table.string("recipe"),
        targets=table.strings("targets"),
        verdict=table.string("verdict"),
        agreement=None if table.raw("agreement") is None else table.number("agreement"),
        size_bytes=table.integer("size_bytes"),
        latency_ms=None if table.raw("latency_ms") is None else table.number("latency_ms"),
    )


def _failure(table: Table) -> Failure:
    return Failure(
        kind=table.string("kind"),
        exit_code=table.integer("exit_code", maximum=255),
        message=table.string("message", max_length=_MAX_TEXT),
        hint=table.string("hint", max_length=_MAX_TEXT) if "hint" in table else "",
        trace=table.string("trace", max_length=_MAX_TEXT) if "trace" in table else "",
    )
