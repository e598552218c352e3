"""Does the new bundle still answer like the original, as its own evidence tells and beside the baseline's?"""

from __future__ import annotations

from edgekit.bundle.evidence import find_parity_evidence
from edgekit.checks.findings import FAIL, INCONCLUSIVE, NOTE, PASS, Finding, outcome
from edgekit.checks.sides import Pair, Sides
from edgekit.errors import RecordError
from edgekit.spec.evidence import PARITY_EVIDENCE, VariantEvidence, find_check
from edgekit.spec.parity import Check, Parity


def stored(sides: Sides) -> list[Finding]:
    """Hold the evidence of the new bundle against its own verdicts and against the baseline's evidence."""
    try:
        new, old = find_parity_evidence(sides.new), find_parity_evidence(sides.old)
    except RecordError as error:
        return [Finding("parity", "evidence", INCONCLUSIVE, detail=error.message)]
    if new is None:
        return [Finding("parity", "evidence", INCONCLUSIVE, detail=f"the new bundle has no {PARITY_EVIDENCE}")]
    found = []
    if old is None or new.data_sha256 != old.data_sha256:
        why = f"the baseline has no {PARITY_EVIDENCE}" if old is None else "judged on other data than the baseline"
        found.append(Finding("parity", "data", NOTE, detail=f"{why}: held against the budgets alone"))
        old = None
    for pair in sides.pairs:
        found += _pair(pair, new.variants.get(pair.new.name), old.variants.get(pair.old.name) if old else None)
    return found


def judged(name: str, parity: Parity) -> list[Finding]:
    """The verdict of one variant, and what failed."""
    result = {"pass": PASS, "fail": FAIL}.get(parity.verdict, INCONCLUSIVE)
    return [Finding("parity", f"{name}: verdict", result, new=parity.verdict, detail=parity.reason)]


def _pair(pair: Pair, new: VariantEvidence | None, old: VariantEvidence | None) -> list[Finding]:
    if new is None:
        return [Finding("parity", pair.name, INCONCLUSIVE, detail=f"the evidence tells nothing of {pair.new.name}")]
    found = judged(pair.name, new.parity)
    for what, told, listed in (
        ("recipe", new.recipe, pair.new.recipe),
        ("verdict", new.parity.verdict, pair.new.parity),
        ("targets", ", ".join(sorted(new.ran_here)), ", ".join(sorted(pair.new.targets))),
    ):
        if told != listed:
            detail = f"its evidence is of another {what}: {told}, edgekit.json lists {listed}"
            found.append(Finding("parity", f"{pair.name}: {what}", FAIL, detail=detail))
    if old is not None and pair.new.precision == pair.old.precision:
        found += [
            _check(f"{pair.name}: {check.name}", check, find_check(new.parity, check.name))
            for check in old.parity.checks
        ]
    return found


def _check(name: str, old: Check, new: Check | None) -> Finding:
    if new is None:
        return Finding("parity", name, INCONCLUSIVE, f"{old.measured:.5f}", detail="the new evidence does not tell")
    at_least = _at_least(old)
    values = f"{old.measured:.5f}", f"{new.measured:.5f}"
    if (new.bound < old.bound) if at_least else (new.bound > old.bound):
        return Finding("parity", name, FAIL, *values, f"the budget was loosened from {old.bound:g} to {new.bound:g}")
    if old.interval and new.interval:
        # On the same inputs the two err alike, so that intervals apart are more than chance.
        worse = new.interval.high < old.interval.low if at_least else new.interval.low > old.interval.high
        return Finding(
            "parity", name, outcome(holds=not worse), *values, "farther from the original than before" if worse else ""
        )
    return Finding("parity", name, outcome(holds=new.passed), *values)


def _at_least(check: Check) -> bool:
    """Whether the bound is a lower one, which a check's outcome tells unless the two are equal."""
    if check.measured == check.bound:
        return "cosine" in check.name or "agreement" in check.name
    return (check.measured > check.bound) == check.passed
