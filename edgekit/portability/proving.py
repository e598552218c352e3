"""prove(): run a bundle in each environment asked for, and say what each one proved."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.portability.asked import Asked, asked_for, uncovered
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Job, Ran
from edgekit.portability.judging import judged, without_drift
from edgekit.portability.kernels import kernels_of
from edgekit.portability.places import Native, Place
from edgekit.portability.probes import known_good
from edgekit.portability.report import Limit, Outcome, Proof, Report
from edgekit.portability.sample import parity_sample
from edgekit.portability.tolerances import Tolerance, tolerance_for
from edgekit.runtime.golden import Golden, read_golden
from edgekit.runtime.host import Host
from edgekit.runtime.selection import choose_variant
from edgekit.spec.cache import cache_folder
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU
from edgekit.spec.target import ANY, WASM

LIMITS = Limits(seconds=240, memory_bytes=8_000_000_000)


def prove(
    bundle: Path, targets: Sequence[str], progress: Progress, *, cache: Path | None = None, limits: Limits = LIMITS
) -> Report:
    """Run a bundle in environments and judge its answers there.

    Args:
        bundle: Its folder; it is read, and nothing is written there.
        targets: Names of targets, devices and environments, or ``all``; see
            :func:`edgekit.portability.asked.asked_for`.
        progress: Told of each environment, and of what is downloaded.
        cache: Where downloads are kept; the user's cache folder where None.
        limits: What one environment may take.

    Returns:
        What each environment said. A bundle that fails is in there, not raised.

    Raises:
        IntegrityError: The bundle is not, byte for byte, what its manifest lists.
        UsageError: A name is unknown.
    """
    opened = Bundle.open(bundle)
    opened.verify()
    bench = _Bench(opened, limits, read_golden(bytes(opened.read(opened.manifest.golden))))
    asked = asked_for(targets, opened.manifest, cache or cache_folder(os.environ, sys.platform, Path.home()))
    proofs: list[Proof] = []
    for one in asked:
        with progress.stage(one.name):
            found = _prove(bench, one, progress)
        if found.outcome is not Outcome.PASS:
            progress.note(f"{one.name}: {found.outcome}: {found.reason}")
        proofs.append(found)
    proofs = without_drift(proofs, bench.tolerances)
    manifest = opened.manifest
    judged_variants = {proof.variant for proof in proofs if proof.golden is not None}
    return Report(
        bundle=f"{manifest.name} {manifest.version}",
        subject={
            entry.path: entry.sha256
            for variant in manifest.variants
            if variant.name in judged_variants
            for entry in manifest.files
            if entry.path.startswith(f"{variant.folder}/")
        },
        proofs=tuple(proofs),
        uncovered=uncovered(manifest, asked),
    )


@dataclass(slots=True)
class _Bench:
    """The bundle, what it is asked, and what is known of its variants so far."""

    bundle: Bundle
    limits: Limits
    golden: Sequence[Golden]
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    own: dict[str, Ran] = field(default_factory=dict)
    ran: dict[tuple[int, str], Ran] = field(default_factory=dict)

    def job(self, variant: Variant) -> Job:
        """What a variant is asked, everywhere."""
        if variant.name not in self.jobs:
            kernels = kernels_of(self.bundle, variant)
            self.tolerances[variant.name] = tolerance_for(kernels)
            self.jobs[variant.name] = Job(
                bundle=self.bundle.root,
                variant=variant.name,
                task=self.bundle.manifest.task,
                probes=known_good(kernels),
                sample=parity_sample(self.golden),
            )
        return self.jobs[variant.name]

    def answers_here(self, variant: Variant) -> Ran:
        """What this machine's CPU answers, whether or not it is a device of the variant."""
        if variant.name not in self.own:
            job = replace(self.job(variant), as_device=False, provider=CPU)
            self.own[variant.name] = self._run(Native(), job)
        return self.own[variant.name]

    def run(self, one: Asked, job: Job) -> Ran:
        """Run a job in an environment, once for all who ask for the same."""
        key = (id(one.place), job.variant)
        if key not in self.ran and one.place is not None:
            self.ran[key] = self._run(one.place, job)
        return self.ran[key]

    def _run(self, place: Place, job: Job) -> Ran:
        with tempfile.TemporaryDirectory(prefix="edgekit-portability-") as folder:
            return place.run(job, Path(folder), self.limits)


def _prove(bench: _Bench, one: Asked, progress: Progress) -> Proof:
    proof = Proof(one.name, one.place.kind if one.place else "", Outcome.NOT_AVAILABLE, one.reason, decides=one.decides)
    if one.place is None:
        return replace(proof, hint=one.hint)
    manifest = bench.bundle.manifest
    try:
        variant, claimed = _variant_for(manifest, one.place.host())
    except HostError as error:
        outcome = Outcome.CANNOT_RUN if one.decides else Outcome.NOT_CLAIMED
        return replace(proof, outcome=outcome, reason=error.message, hint=error.hint, claimed=False)
    proof = replace(proof, variant=variant.name, claimed=claimed, decides=one.decides or claimed)
    try:
        facts = one.place.prepare(progress)
    except HostError as error:
        return replace(proof, reason=error.message, hint=error.hint, variant="")
    job = bench.job(variant)
    ran = bench.run(one, replace(job, as_device=claimed))
    own = bench.answers_here(variant)
    bounds = (variant.self_test_min, bench.tolerances[variant.name])
    proof = judged(replace(proof, facts=facts), ran, bench.golden, own.answers, bounds)
    return _within_limits(proof, one, bench, own) if one.device else proof


def _variant_for(manifest: Manifest, host: Host) -> tuple[Variant, bool]:
    """The variant a device of that kind would take, and whether the bundle says it serves one.

    For the web, where the bundle claims nothing, that is what is right on every CPU: ONNX Runtime's own package format
    would choose it there.

    Raises:
        HostError: There is none.
    """
    try:
        return choose_variant(manifest, host), True
    except HostError:
        anywhere = [variant for variant in manifest.variants if variant.runs_anywhere]
        if host.architecture not in (WASM, ANY) or not anywhere:
            raise
        return anywhere[0], False


def _within_limits(proof: Proof, one: Asked, bench: _Bench, own: Ran) -> Proof:
    assert one.device is not None  # noqa: S101 - the caller's
    size = sum(entry.size for entry in bench.bundle.manifest.files)
    limits = (
        Limit("disk", size, one.device.disk_bytes),
        Limit("memory", own.peak_bytes, one.device.memory_bytes),
    )
    proof = replace(proof, limits=limits)
    over = [limit for limit in limits if not limit.kept]
    if proof.outcome is not Outcome.PASS or not over:
        return proof
    found = "unknown" if over[0].measured_bytes is None else f"{over[0].measured_bytes / 1e6:.0f} MB"
    reason = f"{over[0].name} {found}, the device has {over[0].limit_bytes / 1e6:.0f} MB for it"
    return replace(
        proof, outcome=Outcome.OVER_LIMIT, reason=reason, hint="a smaller variant: `edgekit export --recipe`"
    )
