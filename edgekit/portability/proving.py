"""prove(): run a bundle in each environment asked for, and say what each one proved."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError, HostError
from edgekit.portability.asked import Asked, asked_for, uncovered
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Failure, Job, Ran
from edgekit.portability.judging import compare, could_saturate, judged, judged_together
from edgekit.portability.kernels import kernels_of
from edgekit.portability.places import Native, Place
from edgekit.portability.probes import known_good
from edgekit.portability.report import Agreement, Limit, Outcome, Proof, Report
from edgekit.portability.sample import parity_sample
from edgekit.portability.saturation import PAIR_LIMIT, largest_pair
from edgekit.portability.tolerances import Tolerance, tolerance_for
from edgekit.runtime.golden import Golden, read_golden
from edgekit.runtime.host import Host, usable_threads
from edgekit.runtime.selection import choose_variant
from edgekit.spec.device import Device
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU
from edgekit.spec.target import ANY, WASM
from edgekit.spec.user_folders import cache_folder

TIME_LIMIT: Final = 300.0
MEMORY_LIMIT_BYTES: Final = 8_000_000_000


def prove(
    bundle: Path,
    targets: Sequence[str],
    progress: Progress,
    *,
    cache: Path | None = None,
    time_limit: float = TIME_LIMIT,
    memory_limit: int = MEMORY_LIMIT_BYTES,
) -> Report:
    """Run a bundle in environments and judge its answers there.

    Args:
        bundle: Its folder; it is read, and nothing is written there.
        targets: Names of targets, devices and environments, or ``all``; see
            :func:`edgekit.portability.asked.asked_for`.
        progress: Told of each environment, and of what is downloaded.
        cache: Where downloads are kept; the user's cache folder where None.
        time_limit: Seconds that one environment may take.
        memory_limit: Bytes that one environment may take.

    Returns:
        What each environment said. A bundle that fails is in there, not raised.

    Raises:
        IntegrityError: The bundle is not, byte for byte, what its manifest lists.
        UsageError: A name is unknown.
    """
    opened = Bundle.open(bundle)
    opened.verify()
    asked = asked_for(targets, opened.manifest, cache or cache_folder(os.environ, sys.platform, Path.home()))
    return prove_asked(opened, asked, progress, Limits(time_limit, memory_limit))


def prove_asked(bundle: Bundle, asked: Sequence[Asked], progress: Progress, limits: Limits) -> Report:
    """The same for environments that are known already.

    As many run at once as there are processors: no time is taken in any of them.
    """
    bench = _Bench(bundle, limits, read_golden(bytes(bundle.read(bundle.manifest.golden))))
    with progress.stage("prepare"):
        ready = [_prepared(bench, one, progress) for one in asked]
    proofs = []
    with ThreadPoolExecutor(usable_threads()) as pool:
        try:
            waiting: dict[int, Future[Ran]] = {}  # one run for all who ask for the same environment
            for one in sorted(ready, key=lambda one: one.proof.kind != "webgpu"):  # the slowest first
                if one.job is not None and id(one.place) not in waiting:
                    waiting[id(one.place)] = pool.submit(bench.run, one)
            for one in ready:
                with progress.stage(one.proof.name):
                    proofs.append(_judged(bench, one, waiting[id(one.place)].result()) if one.job else one.proof)
                if proofs[-1].outcome is not Outcome.PASS:
                    progress.note(f"{proofs[-1].outcome}: {proofs[-1].reason}")
        except BaseException:
            limits.cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    proofs = judged_together(proofs, bench.own_agreement(), bench.tolerances)
    return Report(
        bundle=f"{bundle.manifest.name} {bundle.manifest.version}",
        subject=_subject(bundle.manifest, {proof.variant for proof in proofs if proof.golden is not None}),
        proofs=tuple(proofs),
        uncovered=uncovered(bundle.manifest, asked),
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """An environment that can start; with a job where it will."""

    proof: Proof
    place: Place | None = None
    job: Job | None = None
    device: Device | None = None
    saturates: bool = False


class _Bench:
    """The bundle, what it is asked, and what is known of its variants so far."""

    def __init__(self, bundle: Bundle, limits: Limits, golden: Sequence[Golden]) -> None:
        self.bundle = bundle
        self.golden = golden
        self.tolerances: dict[str, Tolerance] = {}
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._own: dict[str, Ran] = {}
        self._pairs: dict[str, int] = {}

    def job(self, variant: Variant) -> Job:
        """What a variant is asked, everywhere."""
        if variant.name not in self._jobs:
            kernels = kernels_of(self.bundle, variant)
            self.tolerances[variant.name] = tolerance_for(kernels)
            self._jobs[variant.name] = Job(
                bundle=self.bundle.root,
                variant=variant.name,
                task=self.bundle.manifest.task,
                probes=known_good(kernels),
                sample=parity_sample(self.golden),
                golden=len(self.golden),
            )
        return self._jobs[variant.name]

    def answers_here(self, job: Job) -> Ran:
        """What this machine's CPU answers, whether or not it is a device of the variant."""
        if job.variant not in self._own:
            self._own[job.variant] = self._run(Native(), replace(job, as_device=False, provider=CPU))
        return self._own[job.variant]

    def own_agreement(self) -> dict[str, Agreement]:
        """How close this machine's answers are to the golden ones, by variant, where it has any."""
        expected = [case.expected for case in self.golden]
        return {
            name: compare(expected, ran.answers[: len(expected)], self.bundle.manifest.variant(name).self_test_min)
            for name, ran in self._own.items()
            if ran.answers
        }

    def largest_pair(self, variant: Variant) -> int:
        """See :func:`edgekit.portability.saturation.largest_pair`."""
        if variant.name not in self._pairs:
            self._pairs[variant.name] = largest_pair(self.bundle, variant)
        return self._pairs[variant.name]

    def run(self, one: _Ready) -> Ran:
        """Run an environment's job."""
        assert one.place is not None and one.job is not None  # noqa: S101, PT018 - the caller's
        return self._run(one.place, one.job)

    def _run(self, place: Place, job: Job) -> Ran:
        with tempfile.TemporaryDirectory(prefix="edgekit-portability-", ignore_cleanup_errors=True) as folder:
            try:
                return place.run(job, Path(folder), self._limits)
            except EdgekitError as error:
                return Ran(failure=Failure(error.message, error.hint))


def _prepared(bench: _Bench, one: Asked, progress: Progress) -> _Ready:
    proof = Proof(one.name, one.place.kind if one.place else "", Outcome.NOT_AVAILABLE, one.reason, decides=one.decides)
    if one.place is None:
        return _Ready(replace(proof, hint=one.hint))
    try:
        variant, claimed = _variant_for(bench.bundle.manifest, one.place.host())
    except HostError as error:
        outcome = Outcome.CANNOT_RUN if one.decides else Outcome.NOT_CLAIMED
        return _Ready(replace(proof, outcome=outcome, reason=error.message, hint=error.hint, claimed=False))
    proof = replace(proof, claimed=claimed, decides=one.decides or claimed)
    try:
        facts = one.place.prepare(progress)
    except HostError as error:
        return _Ready(replace(proof, reason=error.message, hint=error.hint))
    job = bench.job(variant)
    bench.answers_here(job)
    proof = replace(proof, variant=variant.name, facts=facts)
    saturates = one.target is not None and one.target.int8_products_saturate
    return _Ready(proof, one.place, replace(job, as_device=claimed), one.device, saturates)


def _judged(bench: _Bench, one: _Ready, ran: Ran) -> Proof:
    assert one.job is not None  # noqa: S101 - the caller's
    variant, own = bench.bundle.manifest.variant(one.job.variant), bench.answers_here(one.job)
    bounds = (variant.self_test_min, bench.tolerances[variant.name].native_min)
    proof = judged(one.proof, ran, bench.golden, own.answers, bounds)
    if proof.outcome is Outcome.PASS and one.saturates and (largest := bench.largest_pair(variant)) > PAIR_LIMIT:
        proof = could_saturate(proof, largest, PAIR_LIMIT)
    return _within_limits(proof, one.device, bench.bundle.manifest, own) if one.device else proof


def _subject(manifest: Manifest, variants: Collection[str]) -> dict[str, str]:
    folders = tuple(f"{variant.folder}/" for variant in manifest.variants if variant.name in variants)
    return {entry.path: entry.sha256 for entry in manifest.files if entry.path.startswith(folders)}


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


def _within_limits(proof: Proof, device: Device, manifest: Manifest, own: Ran) -> Proof:
    size = sum(entry.size for entry in manifest.files)
    limits = (Limit("disk", size, device.disk_bytes), Limit("memory", own.peak_bytes, device.memory_bytes))
    proof = replace(proof, limits=limits)
    over = [limit for limit in limits if not limit.kept]
    if proof.outcome is not Outcome.PASS or not over:
        return proof
    found = "unknown" if over[0].measured_bytes is None else f"{over[0].measured_bytes / 1e6:.0f} MB"
    reason = f"{over[0].name} {found}, the device has {over[0].limit_bytes / 1e6:.0f} MB for it"
    return replace(
        proof,
        outcome=Outcome.OVER_LIMIT,
        reason=reason,
        hint="make a smaller variant: `edgekit export --optimize size`",
    )
