"""build(): from a checkpoint to a sealed bundle, or to an error that says why there is none."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit import __version__, catalog
from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import check_destination, draft_folder, publish
from edgekit.errors import DataError, ExportError, HostError, InconclusiveError, OutputError, ParityError
from edgekit.runtime.answers import WORST
from edgekit.runtime.golden import write_golden
from edgekit.runtime.loading import open_variant
from edgekit.runtime.session import onnxruntime_version, this_host
from edgekit.spec.manifest import Component, Manifest, Variant
from edgekit.spec.model import Trained
from edgekit.spec.parity import BUDGETS, Budget, Parity, with_limits
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU
from edgekit.spec.target import Target
from edgekit.spec.task import MEASURES
from edgekit.stages import (
    data,
    decode_feeds,
    elsewhere,
    evaluate,
    evidence,
    export,
    fetch,
    float_graphs,
    kept_trials,
    package,
    predicted_gain,
    recipes,
    reference,
    search,
    train,
    weights,
)
from edgekit.stages.calibrate import Calibration
from edgekit.stages.data import Dataset
from edgekit.stages.evaluate import Answers
from edgekit.stages.evidence import Setting, Trial
from edgekit.stages.moments import Moments
from edgekit.stages.package import Contents
from edgekit.stages.recipes import Recipe
from edgekit.stages.reference import Feeds
from edgekit.stages.untrained import untrained

# A self-test on another CPU may differ this much from the build machine's worst golden case.
SELF_TEST_SLACK: Mapping[str, float] = {"float32": 1e-4, "float16": 5e-3, "int8": 5e-3, "int4": 1e-2}


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    Attributes:
        model: A name from ``models/``, a local folder, or a hub id.
        targets: Names of targets.
        output: The bundle's folder.
        task: A Hugging Face task name; from the checkpoint where None.
        data: A file to calibrate and judge on; the model's own or the built-in corpus where None.
        recipe: The only recipe to try; all in order where None.
        revision: Of the hub id.
        token: For the hub.
        allow_unproven: Ship what could not be proven, and say so in the evidence.
        allow_pickle: Read a checkpoint that has no safetensors.
        replace: Whether a bundle at ``output`` may be replaced.
        optimize: One of :data:`edgekit.stages.search.OBJECTIVES`: try all recipes and ship the best; the first that
            passes where None.
        budget: Bounds by name in the place of the task's own, such as ``neighbours_min``; written into the evidence.
    """

    model: str
    targets: tuple[str, ...]
    output: Path
    task: str | None = None
    data: Path | None = None
    recipe: str | None = None
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    allow_unproven: bool = False
    allow_pickle: bool = False
    replace: bool = False
    optimize: str | None = None
    budget: Mapping[str, float] = field(default_factory=dict)


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
    recipes.check_name(request.recipe)
    search.check_objective(request.optimize, request.recipe)
    dataset = data.read_rows(request.data) if request.data else None
    check_destination(request.output, replace=request.replace)
    with draft_folder(request.output) as folder:
        bench = _prepare(request, targets, dataset, folder, progress)
        if bench.setting.answers.doubts and not request.allow_unproven:
            raise _unproven(request, bench.setting)
        groups = dict(_groups(targets))
        with progress.stage("check the export"):
            for group in groups.values():
                _check_export(bench, group)
        kept = kept_trials.KeptTrials(_beside(request, "search"), _facts(bench) if request.optimize else ())
        shipped, tried, searches = [], [], []
        for provider, group in groups.items():
            if request.optimize:
                to_try = recipes.candidates(bench.contents.components, provider)
                found = _search(bench, to_try, group, request.optimize, kept, progress)
                passed, left = found.best, found.left
                searches.append(found)
            else:
                to_try = recipes.ladder(request.recipe, bench.contents.components, provider)
                passed, left = _climb(bench, to_try, group, progress)
            tried += left
            if passed is None:
                raise _failed(request, bench, tried)
            if passed[0].parity == "unproven" and not request.allow_unproven:
                raise _unproven(request, bench.setting, [*tried, passed[1]])
            shipped.append(passed)
        with progress.stage("seal"):
            result = _seal(request, bench, shipped, tried, search.table(searches, request.optimize))
        if request.optimize:
            kept.remove()
        return result


@dataclass(frozen=True, slots=True)
class _Bench:
    """Everything the climb works with; float graphs and what was measured on them by execution provider."""

    contents: Contents
    setting: Setting
    bases: Mapping[str, _Base]
    folder: Path
    budgets: Mapping[str, Budget]

    def base(self, targets: tuple[str, ...]) -> _Base:
        """What recipes for these targets start from."""
        return self.bases[self.contents.targets[targets[0]].execution_provider]


@dataclass(frozen=True, slots=True)
class _Base:
    """The folder of the float graphs of one execution provider, and what was measured on them."""

    fp32: Path
    calibrations: Mapping[str, Calibration]
    moments: Moments
    feeds: Mapping[str, Sequence[Feeds]]


def _prepare(
    request: BuildRequest, targets: Mapping[str, Target], dataset: Dataset | None, folder: Path, progress: Progress
) -> _Bench:
    work = folder / "work"
    work.mkdir()
    _train(request.model, progress)
    with progress.stage("fetch"):
        checkpoint = fetch.fetch(
            request.model, revision=request.revision, token=request.token, allow_pickle=request.allow_pickle
        )
    with progress.stage("load the reference"):
        task = reference.resolve_task(checkpoint, request.task)
        original = reference.load_reference(checkpoint, task, work)
        own = data.read_apart(*checkpoint.own_data) if checkpoint.own_data else None
        dataset = dataset or own or original.builtin() or _no_data(original)
        dataset.require(original.columns)
    budgets = {**BUDGETS[MEASURES[task]], **(checkpoint.card.budgets if checkpoint.card else {})}
    budgets = with_limits(budgets, request.budget)
    samples_min = max(budget.samples_min for budget in budgets.values())
    setting = Setting(
        task=task,
        library=original.library,
        architecture=checkpoint.source.architecture,
        rewrites={},
        data=dataset,
        answers=Answers((), 0, (), ()),
        host=this_host(),
        targets=targets,
        allow_unproven=request.allow_unproven,
        budget=request.budget,
    )
    _refuse_early(request, original, setting, samples_min)
    with progress.stage("export"):
        parts = original.parts()
        graphs = {name: export.export(part) for name, part in parts.items()}
        components = {name: package.component(graph) for name, graph in graphs.items()}
        providers = tuple(dict.fromkeys(target.execution_provider for target in targets.values()))
        rewrites, folders = float_graphs.optimized(graphs, providers, work)
        del graphs
    with progress.stage("ask the reference"):
        answers = evaluate.ask(
            original,
            dataset,
            samples_min=samples_min,
            doubts=untrained(part.module for part in parts.values()),
            advance=progress.advance,
        )
    read = original.feeds([case.input for case in original.cases(dataset.calibration_rows())])
    feeds = {name: _taken(read.get(name, ()), component) for name, component in components.items()}
    return _Bench(
        contents=Contents(checkpoint, original, answers, package.golden_cases(original, answers), components, targets),
        setting=replace(setting, rewrites=rewrites, answers=answers),
        bases={provider: _base(provider, fp32, feeds) for provider, fp32 in folders.items()},
        folder=folder,
        budgets=budgets,
    )


def _base(provider: str, fp32: Path, feeds: Mapping[str, Sequence[Feeds]]) -> _Base:
    probes = fp32.with_name(f"{fp32.name}-probes")
    read = feeds if provider == CPU else decode_feeds.with_decode(feeds, fp32)  # float16 is probed in every component
    calibrations = {name: Calibration(fp32, name, batches, probes / name) for name, batches in read.items()}
    return _Base(fp32, calibrations, Moments(fp32, feeds, probes / "moments"), feeds)


def _taken(batches: Sequence[Feeds], component: Component) -> list[Feeds]:
    """Of what the original reads only what the component takes: not every decoder takes positions."""
    names = [tensor.name for tensor in component.inputs]
    return [{name: batch[name] for name in names if name in batch} for batch in batches]


def _refuse_early(request: BuildRequest, original: reference.Reference, setting: Setting, samples_min: int) -> None:
    """Before the export, which takes long: data of the user's that is too little to prove anything."""
    if request.data is None or request.allow_unproven or len(setting.data.judged) >= samples_min:
        return
    cases = tuple(original.cases(setting.data.judged))
    doubts = tuple(evaluate.too_few(len(cases), samples_min))  # a row may be several cases
    if doubts:
        raise _unproven(request, replace(setting, answers=Answers(cases, len(cases), (), doubts)))


def _train(model: str, progress: Progress) -> None:
    """Train a model of the catalog that has to be trained and is not yet: minutes, so it is a stage of its own."""
    card = catalog.models().get(model)
    if card and isinstance(card.origin, Trained) and train.cached(card) is None:
        with progress.stage("train"):
            train.trained(card, progress.advance)


def _no_data(original: reference.Reference) -> Dataset:
    raise DataError(
        f"edgekit has no data of its own to judge {original.task} on",
        hint=f"give some with --data: a .jsonl or .csv file with the columns {', '.join(original.columns)}",
    )


def _groups(targets: Mapping[str, Target]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Targets for which every recipe makes the same file: all that share an execution provider, which stands first."""
    providers = dict.fromkeys(target.execution_provider for target in targets.values())
    for provider in providers:
        yield provider, tuple(name for name, target in targets.items() if target.execution_provider == provider)


def _climb(
    bench: _Bench, to_try: Sequence[Recipe], targets: tuple[str, ...], progress: Progress
) -> tuple[tuple[Variant, Trial] | None, list[Trial]]:
    """Try recipes from the fastest to the closest; the first that passes, and those that were left.

    One that cannot be proven ends the climb too: what keeps it from proof keeps the next one from it.
    """
    left: list[Trial] = []
    for recipe in to_try:
        with progress.stage(f"judge {recipe.name}"):
            variant, trial = _try(bench, recipe, targets)
        if trial.parity.verdict in ("pass", "unproven"):
            return (variant, trial), left
        progress.note(f"{recipe.name} left: {trial.parity.reason}")
        left.append(trial)
    return None, left


def _search(
    bench: _Bench,
    to_try: Sequence[Recipe],
    targets: tuple[str, ...],
    objective: str,
    kept: kept_trials.KeptTrials,
    progress: Progress,
) -> search.Search:
    """Try every recipe, time those that pass where this machine is such a device, and choose."""
    provider = bench.contents.targets[targets[0]].execution_provider
    host = bench.setting.host
    devices = [bench.contents.targets[name] for name in targets]
    here = any(not one.missing_on(host.architecture, host.cpu_features, host.providers) for one in devices)
    predicted = _predict(bench.base(targets)) if here and provider == CPU else None
    if predicted:
        progress.note(f"before quantizing: {predicted}")
    found = []
    for number, recipe in enumerate(to_try, 1):
        with progress.stage(f"judge {recipe.name} ({number} of {len(to_try)})"):
            plain = package.describe(recipe, targets, bench.contents.components, provider)
            files = bench.folder / "work" / plain.name
            again = kept.find(repr(recipe), plain, files)
            variant, trial = again or _try(bench, recipe, targets)
            if again is None and trial.ran and not trial.overflow:
                kept.keep(repr(recipe), plain, variant, trial, files)
        if trial.parity.verdict == "fail":
            progress.note(f"{recipe.name} left: {trial.parity.reason}")
        found.append(search.Candidate(variant, trial))
    if here:
        with progress.stage("time what passed"):
            found = _timed(bench, found)
    return replace(search.choose(found, objective), predicted=predicted)


def _predict(base: _Base) -> predicted_gain.Prediction | None:
    """Of a model of one graph; what a model that generates gains depends on its steps, which are timed."""
    if len(base.feeds) != 1:
        return None
    ((component, batches),) = base.feeds.items()
    return predicted_gain.predict(base.fp32, component, batches[0]) if batches else None


def _timed(bench: _Bench, found: Sequence[search.Candidate]) -> list[search.Candidate]:
    with contextlib.ExitStack() as stack:
        models = {}
        for one in found:
            if one.passed:
                draft = bench.folder / "drafts" / f"{one.variant.name}-timed"
                package.draft(bench.contents, [(one.variant, bench.folder / "work" / one.variant.name)], draft)
                models[one.variant.name] = stack.enter_context(open_variant(Bundle.open(draft), one.variant))
        times = search.measure(models) if models else {}
    return [replace(one, latency_ms=times.get(one.variant.name)) for one in found]


def _facts(bench: _Bench) -> Iterator[str]:
    """What every trial follows from but its recipe, for finding it again."""
    setting = bench.setting
    yield from (__version__, onnxruntime_version(), setting.task, setting.data.sha256, setting.host.cpu_name)
    yield repr(sorted((name, repr(budget)) for name, budget in bench.budgets.items()))
    yield hashlib.sha256(write_golden(setting.task, bench.contents.golden)).hexdigest()  # tokenizer and pooling too
    for provider, base in bench.bases.items():
        yield provider
        for path in sorted(base.fp32.iterdir()):
            with path.open("rb") as stream:
                yield hashlib.file_digest(stream, "sha256").hexdigest()


def _check_export(bench: _Bench, targets: tuple[str, ...]) -> None:
    variant = package.describe(recipes.FP32, targets, bench.contents.components)
    draft = bench.folder / "drafts" / bench.base(targets).fp32.name
    package.draft(bench.contents, [(variant, bench.base(targets).fp32)], draft)
    with open_variant(Bundle.open(draft), variant, provider=CPU) as model:
        evaluate.check_export(model, bench.setting.answers)


def _try(bench: _Bench, recipe: Recipe, targets: tuple[str, ...]) -> tuple[Variant, Trial]:
    """Make one variant and judge it as a draft bundle, through the code that runs on the device."""
    provider = bench.contents.targets[targets[0]].execution_provider
    variant = package.describe(recipe, targets, bench.contents.components, provider)
    files = bench.folder / "work" / variant.name
    base = bench.base(targets)
    try:
        moments = base.moments if recipe.calibrated else None
        changed = recipes.make(recipe, base.fp32, base.calibrations, files, moments)
    except ExportError as error:  # this recipe does not fit the architecture: a reason to climb, not to stop
        return variant, _left(recipe, variant, error)
    report = weights.compare_weights(files, base.fp32, moments)
    draft = bench.folder / "drafts" / variant.name
    here = provider if provider in bench.setting.host.providers else CPU
    judged, judged_files = (
        (variant, files)
        if here == provider
        else elsewhere.stand_in(variant, files, bench.folder / "rounded" / variant.name)
    )
    package.draft(bench.contents, [(judged, judged_files)], draft)
    saturating = any(bench.contents.targets[name].int8_products_saturate for name in targets)
    try:
        with open_variant(Bundle.open(draft), judged, provider=here) as model:
            parity = evaluate.evaluate(
                model,
                bench.setting.answers,
                bench.budgets[recipe.precision],
                report.checks(saturating_target=saturating),
            )
            worst = model.self_test().worst
    except HostError as error:  # ONNX Runtime does not open or run every file that a pass can write
        return variant, _left(recipe, variant, error, changed)
    if here != provider:
        parity = elsewhere.unproven(parity, provider)
    accepted = math.floor((worst - SELF_TEST_SLACK[recipe.precision]) * 1e4) / 1e4
    variant = replace(
        variant,
        parity=parity.verdict,
        self_test_min=max(accepted, WORST),
        runs_anywhere=provider == CPU and not report.saturates,
    )
    size = sum(path.stat().st_size for path in files.iterdir())
    overflow = _overflow(base) if recipe.precision == recipes.FP16.precision else {}
    return variant, Trial(recipe.name, variant.name, recipe.precision, targets, changed, size, parity, overflow)


def _left(recipe: Recipe, variant: Variant, error: ExportError | HostError, changed: str = "") -> Trial:
    """A recipe of which there was nothing to judge."""
    parity = Parity("fail", error.message, ())
    ran = not isinstance(error, HostError)
    return Trial(recipe.name, variant.name, recipe.precision, variant.targets, changed, 0, parity, ran=ran)


def _overflow(base: _Base) -> dict[str, Any]:
    return {name: calibration.overflow.to_json() for name, calibration in base.calibrations.items()}


def _seal(
    request: BuildRequest,
    bench: _Bench,
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


def _failed(request: BuildRequest, bench: _Bench, tried: Sequence[Trial]) -> ParityError | HostError:
    path = _leave_evidence(request, evidence.parity_evidence(bench.setting, [], tried))
    last = tried[-1]
    if not last.ran:
        return HostError(
            f"no recipe can ship; the last, {last.recipe}, does not run here: {last.parity.reason}", hint=f"see {path}"
        )
    return ParityError(
        f"no recipe stays within the parity budget; the last, {last.recipe}: {last.parity.reason}",
        hint=f"{path} tells how far off each was"
        + ("; without --recipe edgekit climbs to the next ones" if request.recipe else ""),
    )


def _unproven(request: BuildRequest, setting: Setting, tried: Sequence[Trial] = ()) -> InconclusiveError:
    path = _leave_evidence(request, evidence.parity_evidence(setting, [], tried))
    reason = "; ".join(setting.answers.doubts) or tried[-1].parity.reason
    remedy = "give more real texts with --data" if setting.answers.doubts else "export on a machine that has it"
    return InconclusiveError(
        f"parity cannot be proven: {reason}",
        hint=f"{remedy}, or --allow-unproven to ship it marked so; see {path}",
    )


def _beside(request: BuildRequest, what: str) -> Path:
    return request.output.with_name(f"{request.output.name}.{what}")


def _leave_evidence(request: BuildRequest, facts: Mapping[str, Any]) -> Path:
    path = _beside(request, "evidence") / "parity.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(package.evidence_json(facts))
    except OSError as error:
        raise OutputError(
            f"{path}: the evidence of a failed build cannot be written: {error.strerror}",
            hint="free space on that disk, or name an output folder elsewhere",
        ) from error
    return path
