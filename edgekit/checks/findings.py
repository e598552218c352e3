"""What a check found, and what it all comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edgekit.checks.latency import Latency
from edgekit.errors import BudgetError, EdgekitError, HostError, InconclusiveError, IntegrityError, ParityError

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
NOTE = "note"  # looked at, nothing to decide
ACCEPTED = "accepted"  # would fail, but the user said that it is meant

# By group, which error its failures are; the order of the table is that of the report.
GROUPS: Final[dict[str, type[EdgekitError]]] = {
    "integrity": IntegrityError,
    "compatibility": HostError,
    "model": ParityError,
    "recipe": ParityError,
    "parity": ParityError,
    "answers": ParityError,
    "portability": HostError,
    "size": BudgetError,
    "graph": BudgetError,
    "memory": BudgetError,
    "latency": BudgetError,
}

# Of several failures the first of these gives the exit code: nothing is known of damaged files; wrong answers reach
# users unseen, where a device that cannot run a bundle says so; a budget is the least that can be wrong.
SEVERITY: Final = (IntegrityError, ParityError, HostError, BudgetError, InconclusiveError)

ACCEPTABLE: Final = ("model", "recipe", "size", "graph", "memory")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: One of :data:`GROUPS`.
        name: What was looked at, such as a variant.
        outcome: One of the outcomes above.
        old: The baseline's value, for people.
        new: The new bundle's.
        detail: What it means, one sentence; may be empty.
        cause: The error that a failure is, where it is not that of the group.
    """

    group: str
    name: str
    outcome: str
    old: str = ""
    new: str = ""
    detail: str = ""
    cause: type[EdgekitError] | None = None

    @property
    def error(self) -> type[EdgekitError] | None:
        """The error that it comes to, if any."""
        if self.outcome == INCONCLUSIVE:
            return InconclusiveError
        return (self.cause or GROUPS[self.group]) if self.outcome == FAIL else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        error = self.error
        return {
            "group": self.group,
            "name": self.name,
            "outcome": self.outcome,
            "old": self.old,
            "new": self.new,
            "detail": self.detail,
            **({"kind": error.kind, "exit_code": error.exit_code} if error else {}),
        }


def outcome(*, holds: bool) -> str:
    """Pass or fail."""
    return PASS if holds else FAIL


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was found.

    Attributes:
        new: The bundle that was checked.
        old: Its baseline.
        findings: In the order of :data:`GROUPS`.
        facts: Numbers behind them by group, as JSON values.
        latency: What was timed; None where nothing was.
        seconds: How long the check took.
    """

    new: Path
    old: Path
    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    latency: Latency | None
    seconds: float

    @property
    def error(self) -> type[EdgekitError] | None:
        """The most severe failure; None where there is none."""
        found = {finding.error for finding in self.findings}
        return next((error for error in SEVERITY if error in found), None)

    @property
    def exit_code(self) -> int:
        """0, or that of the most severe failure."""
        return self.error.exit_code if self.error else 0

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``inconclusive``."""
        if self.error is None:
            return PASS
        return INCONCLUSIVE if self.error is InconclusiveError else FAIL

    def to_json(self) -> dict[str, Any]:
        """As one JSON document."""
        return {
            "verdict": self.verdict,
            "kind": self.error.kind if self.error else None,
            "exit_code": self.exit_code,
            "new": str(self.new),
            "baseline": str(self.old),
            "findings": [finding.to_json() for finding in self.findings],
            **self.facts,
            **({"latency": self.latency.to_json()} if self.latency else {}),
            "seconds": round(self.seconds, 1),
        }


def sort_and_accept(findings: Sequence[Finding], accept: Sequence[str]) -> tuple[Finding, ...]:
    """In the order of the groups, failures of accepted groups marked as such."""
    order = list(GROUPS)
    return tuple(
        replace(finding, outcome=ACCEPTED) if finding.outcome == FAIL and finding.group in accept else finding
        for finding in sorted(findings, key=lambda finding: order.index(finding.group))
    )
