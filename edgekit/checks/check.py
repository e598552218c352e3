"""check(): is a new bundle as good as its baseline? The cheap and certain questions first, the clock last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from edgekit.bundle.reading import Bundle
from edgekit.checks import answers, census, footprint, latency, parity, portability, reference
from edgekit.checks.findings import ACCEPTABLE, FAIL, INCONCLUSIVE, PASS, CheckReport, Finding, sort_and_accept
from edgekit.checks.latency import Latency, Plan
from edgekit.checks.sides import Pair, Sides, compatibility, here, origin, pair_up
from edgekit.errors import EdgekitError, HostError, IntegrityError, UsageError
from edgekit.runtime.session import onnxruntime_version, this_host
from edgekit.spec.progress import Progress
from edgekit.spec.reader import nearest

Prove: TypeAlias = Callable[[Path, Sequence[str], Progress], Sequence[Finding]]
"""Runs a bundle on targets and says what came of it."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check.

    Attributes:
        new: The bundle's folder.
        old: Its baseline's.
        reference: The original model, to judge against once more; None leaves it at the stored evidence.
        data: Inputs for that; the model's own where None.
        targets: Where the new bundle is run besides.
        accept: Groups whose changes are meant, of :data:`edgekit.checks.findings.ACCEPTABLE`.
        size_margin: How many more bytes are still alike.
        memory_margin: Likewise for memory.
        latency: How to time; None times nothing.
        threads: Of the sessions that are not timed.
    """

    new: Path
    old: Path
    reference: str | None = None
    data: Path | None = None
    targets: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    size_margin: float = footprint.SIZE_MARGIN
    memory_margin: float = footprint.MEMORY_MARGIN
    latency: Plan | None = field(default_factory=Plan)
    threads: int = 1


def check(request: CheckRequest, progress: Progress, *, prove: Prove = portability.proved) -> CheckReport:
    """Check a bundle against its baseline.

    What fails is a finding, not an error, so that a report holds all of it; damaged bundles end the check.

    Args:
        request: What to check.
        progress: Told what is being done.
        prove: Runs the bundle on ``request.targets``.

    Raises:
        UsageError: A group cannot be accepted, or a target is unknown.
        InputError: The reference or its data cannot be used.
        ExportError: The reference cannot be loaded.
    """
    for group in request.accept:
        if group not in ACCEPTABLE:
            hint = nearest(group, ACCEPTABLE) or f"changes that can be meant: {', '.join(ACCEPTABLE)}"
            raise UsageError(f"{group!r} cannot be accepted", hint=hint)
    began = time.monotonic()
    found = _Found()
    facts: dict[str, Any] = {}
    timed: Latency | None = None
    sides = _open(request, found, progress)
    if sides is not None:
        try:
            facts, timed = _examine(sides, request, found, progress, prove)
        except IntegrityError as error:
            found.add(Finding("integrity", "contents", FAIL, detail=error.message))
    findings = sort_and_accept(found.findings, request.accept)
    return CheckReport(request.new, request.old, findings, facts, timed, time.monotonic() - began)


@dataclass(slots=True)
class _Found:
    findings: list[Finding] = field(default_factory=list)

    def add(self, *findings: Finding) -> None:
        self.findings.extend(findings)


def _open(request: CheckRequest, found: _Found, progress: Progress) -> Sides | None:
    opened = {}
    with progress.stage("integrity"):
        for name, path in (("new", request.new), ("baseline", request.old)):
            try:
                opened[name] = Bundle.open(path)
                opened[name].verify(progress.advance)
            except IntegrityError as error:
                opened.pop(name, None)
                found.add(Finding("integrity", name, FAIL, detail=error.message))
            else:
                files = len(opened[name].manifest.files)
                found.add(Finding("integrity", name, PASS, detail=f"{files} files, every digest matches"))
    if len(opened) < 2:
        return None
    new, old = opened["new"], opened["baseline"]
    return Sides(new, old, pair_up(new.manifest, old.manifest))


def _examine(
    sides: Sides, request: CheckRequest, found: _Found, progress: Progress, prove: Prove
) -> tuple[dict[str, Any], Latency | None]:
    host = this_host()
    local, fits = here(sides, host, onnxruntime_version())
    found.add(*compatibility(sides), *fits, *origin(sides))
    sizes, facts = footprint.sizes(sides, request.size_margin)
    found.add(*sizes, *parity.stored(sides))
    with progress.stage("graphs"):
        graphs, counts = census.graphs(sides, request.threads)
        found.add(*graphs)
    if local is not None:
        with progress.stage("memory"):
            memory, facts["memory"] = _memory(sides, local, request)
            found.add(*memory)
    with progress.stage("answers"):
        found.add(*answers.golden(sides, host))
    if request.reference is not None:
        with progress.stage("reference"):
            found.add(*reference.again(sides, request.reference, request.data, progress))
    if request.targets:
        with progress.stage("portability"):
            found.add(*prove(request.new, request.targets, progress))
    timed = None
    if request.latency is not None and local is not None:
        with progress.stage("latency"):
            timed = _latency(sides, local, request.latency, found, progress)
    return facts | counts, timed


def _memory(sides: Sides, local: Pair, request: CheckRequest) -> tuple[list[Finding], dict[str, Any]]:
    try:
        return footprint.memory(sides, local, request.memory_margin, request.threads)
    except HostError as error:
        return [Finding("memory", local.name, FAIL, detail=error.message, cause=HostError)], {}


def _latency(sides: Sides, local: Pair, plan: Plan, found: _Found, progress: Progress) -> Latency | None:
    start = latency.starter((sides.new.root, local.new.name), (sides.old.root, local.old.name), plan.threads)
    try:
        timed = latency.compare(start, plan, progress)
    except IntegrityError:
        raise
    except EdgekitError as error:
        found.add(Finding("latency", local.name, INCONCLUSIVE, detail=f"not timed: {error.message}"))
        return None
    found.add(*_timed(timed))
    return timed


def _timed(timed: Latency) -> list[Finding]:
    found = []
    for name, ratio in timed.ratios.items():
        old, new = (f"{timed.samples[name][side].median_ms:.2f} ms" for side in (latency.OLD, latency.NEW))
        detail = (
            f"{latency.percent(ratio.estimate)} ({latency.percent(ratio.low)} to {latency.percent(ratio.high)}), "
            f"margin {timed.plan.margin:.0%}; baseline beside itself {latency.percent(ratio.control)}"
        )
        found.append(Finding("latency", name, ratio.verdict, old, new, detail))
    return found
