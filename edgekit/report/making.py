"""make(): from one or two bundles to a page."""

from __future__ import annotations

from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.checks.check import CheckRequest, check
from edgekit.checks.findings import Finding
from edgekit.checks.latency import Plan
from edgekit.report import facts, measuring, page, plots
from edgekit.report.facts import Measured, Page
from edgekit.runtime.session import this_host
from edgekit.spec.progress import Progress


def make(bundle: Path, against: Path | None, plan: Plan | None, progress: Progress) -> tuple[Page, str]:
    """Verify, measure and write.

    Args:
        bundle: The bundle's folder.
        against: A baseline's.
        plan: How to time; None measures nothing.
        progress: Told what is being done.

    Returns:
        What is on the page, and the page.

    Raises:
        UsageError: The libraries of the extra are not installed.
        IntegrityError: A bundle is not, byte for byte, what its manifest lists.
        RecordError: Evidence is not what it says it is.
        HostError: This machine cannot run a bundle that is to be measured.
    """
    plots.available()
    opened = Bundle.open(bundle)
    old = Bundle.open(against) if against is not None else None
    with progress.stage("integrity"):
        opened.verify(progress.advance)
        if old is not None:
            old.verify(progress.advance)
    findings: tuple[Finding, ...] = ()
    if against is not None:
        findings = check(CheckRequest(bundle, against, latency=None), progress).findings
    measured = measuring.measure(opened, old, plan, progress) if plan else Measured(this_host().cpu_name)
    gathered = facts.gather(opened, measured, old, findings)
    return gathered, page.render(gathered)
