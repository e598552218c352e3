"""build(): from a checkpoint to a sealed bundle, or to an error that says why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import catalog
from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import check_destination, draft_folder, publish
from edgekit.errors import ParityError
from edgekit.runtime.loading import open_variant
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU
from edgekit.spec.target import Target
from edgekit.stages import bench as benches
from edgekit.stages import data, evidence, kept_trials, ladder, package, refusal, search
from edgekit.stages.bench import Bench, prepare
from edgekit.stages.evidence import Trial
from edgekit.stages.judging import check_export, try_recipe
from edgekit.stages.ladder import Recipe
from edgekit.stages.request import BuildRequest, check_objective
from edgekit.stages.search_run import run_search, what_trials_follow_from

__all__ = ["BuildRequest", "BuildResult", "build", "keep_original"]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A sealed bundle: its folder, manifest, and the content of ``evidence/parity.json``."""

    bundle: Path
    manifest: Manifest
    evidence: Mapping[str, Any]


def build(request: BuildRequest, progress: Progress) -> BuildResult:
    """Build, judge and seal a bundle.

    Nothing is left behind on failure but the evidence of a failed parity and, in ``OUTPUT.search``, the trials of a
    search, with which the next one goes on.

    Raises:
        UsageError: Unknown model, task, target or recipe.
        InputError: The checkpoint, the data or the output folder cannot be used.
        ExportError: The model cannot be turned into a graph that answers like it.
        ParityError: No recipe stays within the budget; ``OUTPUT.evidence/parity.json`` says how far off each was.
        HostError: Nor does the last one run on this machine; the same file says why.
        InconclusiveError: The data, the reference or this machine cannot prove anything; the same file says why.
    """
    targets = {name: catalog.target(name) for name in request.targets}
    ladder.check_name(request.recipe)
    check_objective(request.optimize, request.recipe)
    dataset = data.read_rows(request.data) if request.data else None
    check_destination(request.output, replace=request.replace)
    with draft_folder(request.output) as folder:
        bench = prepare(request, targets, dataset, folder, progress)
        if bench.setting.answers.doubts and not request.allow_unproven:
            raise refusal.unproven(request, bench.setting)
        groups = dict(_groups(targets))
        with progress.stage("check the export"):
            for group in groups.values():
                check_export(bench, group)
        facts = what_trials_follow_from(bench) if request.optimize else ()
        kept = kept_trials.KeptTrials(refusal.beside(request, "search"), facts)
        shipped, tried, searches = [], [], []
        for provider, group in groups.items():
            if request.optimize:
                to_try = ladder.candidates(bench.contents.components, provider)
                found = run_search(bench, to_try, group, request.optimize, kept, progress)
                passed, left = found.best, found.left
                searches.append(found)
            else:
                to_try = ladder.ladder(request.recipe, bench.contents.components, provider)
                passed, left = _climb(bench, to_try, group, progress)
            tried += left
            if passed is None:
                raise refusal.failed(request, bench.setting, tried)
            if passed[0].parity == "unproven" and not request.allow_unproven:
                raise refusal.unproven(request, bench.setting, [*tried, passed[1]])
            shipped.append(passed)
        with progress.stage("seal"):
            result = _seal(request, bench, shipped, tried, search.table(searches, request.optimize))
        if request.optimize:
            kept.remove()
        return result


def keep_original(request: BuildRequest, folder: Path, progress: Progress) -> None:
    """Export and ask the original once, for several builds of it (:attr:`BuildRequest.original`).

    Args:
        request: What will be built; only model, revision, token, task, data and pickles matter.
        folder: An empty one, for what is kept.
        progress: Told of each stage.

    Raises:
        UsageError: Unknown model or task.
        InputError: The checkpoint or the data cannot be used.
        ExportError: The model cannot be turned into a graph.
    """
    dataset = data.read_rows(request.data) if request.data else None
    benches.keep_original(request, dataset, folder, progress)


def _groups(targets: Mapping[str, Target]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Targets for which every recipe makes the same file: all that share an execution provider, which stands first."""
    providers = dict.fromkeys(target.execution_provider for target in targets.values())
    for provider in providers:
        yield provider, tuple(name for name, target in targets.items() if target.execution_provider == provider)


def _climb(
    bench: Bench, to_try: Sequence[Recipe], targets: tuple[str, ...], progress: Progress
) -> tuple[tuple[Variant, Trial] | None, list[Trial]]:
    """Try recipes from the fastest to the closest; the first that passes, and those that were left.

    One that cannot be proven ends the climb too: what keeps it from proof keeps the next one from it.
    """
    left: list[Trial] = []
    for recipe in to_try:
        with progress.stage(f"judge {recipe.name}"):
            variant, trial = try_recipe(bench, recipe, targets)
        if trial.parity.verdict in ("pass", "unproven"):
            return (variant, trial), left
        progress.note(f"{recipe.name} left: {trial.parity.reason}")
        left.append(trial)
    return None, left


def _seal(
    request: BuildRequest,
    bench: Bench,
    shipped: Sequence[tuple[Variant, Trial]],
    tried: Sequence[Trial],
    searched: Mapping[str, Any],
) -> BuildResult:
    variants = [variant for variant, _ in shipped]
    facts = evidence.parity_evidence(bench.setting, [trial for _, trial in shipped], tried) | dict(searched)
    draft = bench.folder / "bundle"
    files = bench.folder / "work"
    manifest = package.draft(bench.contents, [(variant, files / variant.name) for variant in variants], draft)
    card = evidence.model_card(manifest, facts)
    manifest = package.seal(bench.contents, variants, draft, facts, card)
    for variant in variants:
        provider = bench.contents.targets[variant.targets[0]].execution_provider
        here = provider if provider in bench.setting.host.providers else CPU
        with open_variant(Bundle.open(draft), variant, provider=here) as model:
            if not model.self_test().passed:
                raise ParityError(f"{variant.name}: the sealed bundle fails its own self-test")
    publish(draft, request.output, replace=request.replace)
    return BuildResult(request.output, manifest, facts)
