"""A build of the real MiniLM through the pipeline, and the files it worked on kept for planting faults."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from edgekit import catalog, pipeline
from edgekit.bundle.reading import Bundle
from edgekit.pipeline import BuildRequest, BuildResult, build
from edgekit.runtime import Model
from edgekit.runtime.loading import open_variant
from edgekit.spec.manifest import Variant
from edgekit.spec.parity import BUDGETS, Check, Parity
from edgekit.spec.progress import Silent
from edgekit.spec.provider import CPU
from edgekit.stages import evaluate, package
from edgekit.stages.evaluate import Answers
from edgekit.stages.evidence import Setting
from edgekit.stages.ladder import Recipe
from edgekit.stages.package import Contents
from edgekit.stages.reference import Feeds
from edgekit.stages.start import Start
from edgekit.stages.weights import WeightReport, compare_weights

# For planted faults, which are gross: few texts, and room for the wider interval that they give.
FEW = 300
FEW_LONG = 8
FEW_AGREEMENT = {"int8": 0.85, "float32": 0.97}
QUICK_TEXTS = 4


@dataclass(frozen=True)
class Built:
    """A finished build.

    ``contents`` is what the pipeline packaged and ``batches`` what it calibrated with; ``files`` has the
    folder of each variant it made and, as ``float-cpu``, that of the graphs they were made from; ``setting``
    is what its evidence tells of the build.
    """

    result: BuildResult
    contents: Contents
    batches: Sequence[Feeds]
    files: Mapping[str, Path]
    setting: Setting

    def report(self, recipe: Recipe, files: Path) -> WeightReport:
        """What the weight check says of a recipe's files, held against what they were made from."""
        start = self.smoothed if recipe.smooth else self.start
        if recipe.spare:
            start = self.start.smoothed_sparing(recipe.spare).start
        return compare_weights(files, start.folder, start.moments if recipe.calibrated else None)

    @cached_property
    def start(self) -> Start:
        """What the pipeline's recipes started from, measured again."""
        return Start(self.fp32, {"model": self.batches})

    @cached_property
    def smoothed(self) -> Start:
        """What those started from that smooth and calibrate."""
        return Start(self.files["float-cpu-smoothed-outliers"], {"model": self.batches})

    @property
    def bundle(self) -> Path:
        return self.result.bundle

    @property
    def fp32(self) -> Path:
        return self.files["float-cpu"]

    @property
    def shipped(self) -> Variant:
        return self.result.manifest.variants[0]

    def quick_start(self, work: Path) -> Start:
        """Measured on few texts: for recipes whose weights are looked at, not their answers."""
        folder = work / self.fp32.name
        if not folder.exists():
            shutil.copytree(self.fp32, folder)  # measurements go beside it
        return Start(folder, {"model": self.batches[:QUICK_TEXTS]})


def build_minilm(folder: Path) -> Built:
    """Build as a user does; on its way to sealing, the work folder is linked to where it stays."""
    kept = folder / "work"
    benches = []
    seal = pipeline._seal

    def keep_and_seal(request, bench, shipped, tried, searched):
        shutil.copytree(bench.folder / "work", kept, copy_function=os.link)
        benches.append(bench)
        return seal(request, bench, shipped, tried, searched)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_seal", keep_and_seal)
        result = build(BuildRequest("minilm", catalog.expand_targets([catalog.ALL]), folder / "bundle"), Silent())
    (bench,) = benches
    files = {path.name: path for path in kept.iterdir() if (path / "model.onnx").is_file()}
    return Built(result, bench.contents, bench.starts[CPU].feeds["model"], files, bench.setting)


def few(answers: Answers) -> Answers:
    """The reference's answers to the first texts only."""
    places = [*range(FEW), *range(answers.judged, answers.judged + FEW_LONG)]
    return dataclasses.replace(
        answers,
        cases=tuple(answers.cases[place] for place in places),
        judged=FEW,
        raw=tuple(answers.raw[place] for place in places),
    )


def open_draft(contents: Contents, recipe: Recipe, files: Path, folder: Path) -> Model:
    """A draft bundle of one variant, opened by the runtime, as the pipeline does to judge it."""
    variant = package.describe(recipe, tuple(contents.targets), contents.components)
    package.draft(contents, [(variant, files)], folder)
    return open_variant(Bundle.open(folder), variant)


def judge_draft(
    contents: Contents, recipe: Recipe, files: Path, folder: Path, weight_checks: Sequence[Check] = ()
) -> Parity:
    """The verdict on a draft, on few texts."""
    budget = BUDGETS["vectors"][recipe.precision]
    limits = {**budget.limits, "neighbours_min": FEW_AGREEMENT[recipe.precision]}
    budget = dataclasses.replace(budget, limits=limits)
    with open_draft(contents, recipe, files, folder) as model:
        return evaluate.evaluate(model, few(contents.answers), budget, weight_checks)


def failed(parity: Parity) -> set[str]:
    """Names of the checks that did not hold."""
    return {check.name for check in parity.checks if not check.passed}
