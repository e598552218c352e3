"""Run a search: try every recipe, time those that pass, and choose."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgekit import __version__
from edgekit.bundle.reading import Bundle
from edgekit.runtime.golden import write_golden
from edgekit.runtime.loading import open_variant
from edgekit.runtime.session import onnxruntime_version
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU
from edgekit.stages import kept_trials, package, predicted_gain, search
from edgekit.stages.bench import Bench
from edgekit.stages.judging import try_recipe
from edgekit.stages.ladder import Recipe
from edgekit.stages.start import Start


def run_search(
    bench: Bench,
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
    predicted = _predict(bench.start(targets)) if here and provider == CPU else None
    if predicted:
        progress.note(f"before quantizing: {predicted}")
    found = []
    for number, recipe in enumerate(to_try, 1):
        with progress.stage(f"judge {recipe.name} ({number} of {len(to_try)})"):
            plain = package.describe(recipe, targets, bench.contents.components, provider)
            files = bench.folder / "work" / plain.name
            again = kept.find(repr(recipe), plain, files)
            variant, trial = again or try_recipe(bench, recipe, targets)
            if again is None and trial.ran and not trial.overflow:
                kept.keep(repr(recipe), plain, variant, trial, files)
        if trial.parity.verdict == "fail":
            progress.note(f"{recipe.name} left: {trial.parity.reason}")
        found.append(search.Candidate(variant, trial))
    if here:
        with progress.stage("time what passed"):
            found = _timed(bench, found)
    return replace(search.choose(found, objective), predicted=predicted)


def _predict(start: Start) -> predicted_gain.Prediction | None:
    """Of a model of one graph; what a model that generates gains depends on its steps, which are timed."""
    if len(start.feeds) != 1:
        return None
    ((component, batches),) = start.feeds.items()
    longest = max(batches, key=lambda feeds: sum(array.size for array in feeds.values()), default=None)
    return predicted_gain.predict(start.folder, component, longest) if longest else None


def _timed(bench: Bench, found: Sequence[search.Candidate]) -> list[search.Candidate]:
    with contextlib.ExitStack() as stack:
        models = {}
        for one in found:
            if one.passed:
                draft = bench.folder / "drafts" / f"{one.variant.name}-timed"
                package.draft(bench.contents, [(one.variant, bench.folder / "work" / one.variant.name)], draft)
                models[one.variant.name] = stack.enter_context(open_variant(Bundle.open(draft), one.variant))
        times = search.measure(models) if models else {}
    return [replace(one, latency_ms=times.get(one.variant.name)) for one in found]


def what_trials_follow_from(bench: Bench) -> Iterator[str]:
    """What every trial follows from but its recipe, for finding it again."""
    setting = bench.setting
    yield from (__version__, onnxruntime_version(), setting.task, setting.data.sha256, setting.host.cpu_name)
    yield repr(sorted((name, repr(budget)) for name, budget in bench.budgets.items()))
    yield hashlib.sha256(write_golden(setting.task, bench.contents.golden)).hexdigest()  # tokenizer and pooling too
    for provider, start in bench.starts.items():
        yield provider
        for path in sorted(start.folder.iterdir()):
            with path.open("rb") as stream:
                yield hashlib.file_digest(stream, "sha256").hexdigest()
