"""The bench: everything that recipes are tried on, made once from the checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import catalog
from edgekit.errors import DataError
from edgekit.runtime.session import this_host
from edgekit.spec.manifest import Component
from edgekit.spec.model import Trained
from edgekit.spec.parity import BUDGETS, Budget, with_limits
from edgekit.spec.progress import Progress
from edgekit.spec.target import Target
from edgekit.spec.task import MEASURES
from edgekit.stages import data, evaluate, export, fetch, float_graphs, package, reference, train
from edgekit.stages import original as kept_original
from edgekit.stages.data import Dataset
from edgekit.stages.evaluate import Answers
from edgekit.stages.evidence import Setting
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.package import Contents
from edgekit.stages.reference import Feeds
from edgekit.stages.refusal import unproven
from edgekit.stages.request import BuildRequest
from edgekit.stages.start import Start
from edgekit.stages.untrained import untrained


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything the climb works with; float graphs and what was measured on them by execution provider."""

    contents: Contents
    setting: Setting
    starts: Mapping[str, Start]
    folder: Path
    budgets: Mapping[str, Budget]

    def start(self, targets: tuple[str, ...]) -> Start:
        """What recipes for these targets start from."""
        return self.starts[self.contents.targets[targets[0]].execution_provider]


def prepare(
    request: BuildRequest, targets: Mapping[str, Target], dataset: Dataset | None, folder: Path, progress: Progress
) -> Bench:
    """Fetch, load, export and ask the original: what comes before the first recipe.

    Args:
        request: What to build.
        targets: By name.
        dataset: Of the user; the model's own or a built-in one where None.
        folder: To work in; ``work`` in it must not exist.
        progress: Told of each stage.
    """
    work = folder / "work"
    work.mkdir()
    checkpoint, original, dataset = _load(request, dataset, work, progress)
    task = original.task
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
        kept = kept_original.read_graphs(request.original) if request.original else None
        graphs = {name: kept[name] if kept else export.export(part) for name, part in parts.items()}
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
            known=kept_original.read_answers(request.original) if request.original else None,
        )
    read = original.feeds([case.input for case in original.cases(dataset.calibration_rows())])
    feeds = {name: _taken(read.get(name, ()), component) for name, component in components.items()}
    return Bench(
        contents=Contents(checkpoint, original, answers, package.golden_cases(original, answers), components, targets),
        setting=replace(setting, rewrites=rewrites, answers=answers),
        starts={provider: Start(fp32, feeds, provider) for provider, fp32 in folders.items()},
        folder=folder,
        budgets=budgets,
    )


def keep_original(request: BuildRequest, dataset: Dataset | None, folder: Path, progress: Progress) -> None:
    """Export and ask the original, and keep both for builds of it, see :mod:`.original`.

    Args:
        request: What will be built; its targets, recipe and budget do not matter.
        dataset: Of the user; the model's own or a built-in one where None.
        folder: An empty one, for what is kept.
        progress: Told of each stage.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as work:
        _, original, dataset = _load(request, dataset, Path(work), progress)
        with progress.stage("export"):
            graphs = {name: export.export(part) for name, part in original.parts().items()}
        with progress.stage("ask the reference"):
            answers = evaluate.ask(original, dataset, samples_min=0, advance=progress.advance)
        kept_original.write(folder, graphs, answers.raw)


def _load(
    request: BuildRequest, dataset: Dataset | None, work: Path, progress: Progress
) -> tuple[Checkpoint, reference.Reference, Dataset]:
    """The checkpoint, the original and the data to ask it."""
    _train(request.model, progress)
    with progress.stage("fetch"):
        checkpoint = fetch.requested(request)
    with progress.stage("load the reference"):
        task = reference.resolve_task(checkpoint, request.task)
        original = reference.load_reference(checkpoint, task, work)
        own = data.read_apart(*checkpoint.own_data) if checkpoint.own_data else None
        dataset = dataset or own or original.builtin() or _no_data(original)
        dataset.require(original.columns)
    return checkpoint, original, dataset


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
        raise unproven(request, replace(setting, answers=Answers(cases, len(cases), (), doubts)))


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
