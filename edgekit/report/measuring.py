"""What a report measures on the machine that makes it: times, memory, energy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.checks import footprint, latency
from edgekit.checks.child import WALL, fixed_workloads
from edgekit.checks.latency import BURST_MS, NEW, OLD, Plan
from edgekit.checks.processes import Process, opening
from edgekit.report import energy
from edgekit.report.facts import Measured
from edgekit.runtime.loading import open_variant
from edgekit.runtime.selection import check_host
from edgekit.runtime.session import onnxruntime_version, this_host
from edgekit.spec.progress import Progress

PROCESSES: Final = 3  # of a bundle that is timed alone
BURSTS: Final = 16


def measure(new: Bundle, old: Bundle | None, plan: Plan, progress: Progress) -> Measured:
    """Time a bundle, beside its baseline where there is one, and take its memory and energy.

    Args:
        new: The bundle.
        old: Its baseline.
        plan: How to time.
        progress: Told what is being done.

    Raises:
        HostError: This machine cannot run one of them.
        EdgekitError: A bundle could not be opened.
    """
    host, version = this_host(), onnxruntime_version()
    sides = {
        name: (bundle.root, check_host(bundle.manifest, host, version).name)
        for name, bundle in ((NEW, new), (OLD, old))
        if bundle is not None
    }
    measured = Measured(f"{host.cpu_name} ({host.architecture}, {host.system}), onnxruntime {version}")
    with progress.stage("memory"):
        memory = footprint.starts(sides, plan.threads)
    with progress.stage("latency"):
        if old is None:
            samples = {name: {NEW: values} for name, values in _alone(new, sides[NEW][1], plan, progress).items()}
            timed = None
        else:
            timed = latency.compare(latency.starter(sides[NEW], sides[OLD], plan.threads), plan, progress)
            samples = {
                name: {side: sample.values_ms for side, sample in both.items()} for name, both in timed.samples.items()
            }
    with progress.stage("energy"):
        used = _energy(new, sides[NEW][1], plan)
    return dataclasses.replace(measured, latency=timed, samples=samples, memory=memory, energy=used)


def _alone(bundle: Bundle, variant: str, plan: Plan, progress: Progress) -> dict[str, Sequence[float]]:
    """Times of a few processes' calls, milliseconds by measure."""
    samples: dict[str, list[float]] = {}
    for number in range(PROCESSES):
        with Process(opening("time", bundle.root, variant, (bundle.root,), threads=plan.threads)) as process:
            warm = process.ask({"do": "warm up", "clock": WALL})
            calls = {name: max(1, round(BURST_MS / max(ms, 1e-3))) for name, ms in warm.items()}
            for burst in range(BURSTS):
                for name, values in process.ask({"do": "burst", "calls": calls, "clock": WALL}).items():
                    samples.setdefault(name, []).extend(values)
                progress.advance(number * BURSTS + burst + 1, PROCESSES * BURSTS)
    return dict(samples)


def _energy(bundle: Bundle, variant: str, plan: Plan) -> dict[str, energy.Energy] | None:
    found = {}
    with open_variant(bundle, bundle.manifest.variant(variant), threads=plan.threads) as model:
        for workload in fixed_workloads([bundle]):
            used = energy.measure(lambda workload=workload: workload.ask(model, time.perf_counter_ns))  # type: ignore[misc]
            if used is None:
                return None
            found[workload.name] = used
    return found
