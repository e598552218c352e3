"""A build of the real MiniLM through the pipeline, and the files it worked on kept for planting faults."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from edgekit.stages.calibrate import Calibration
from edgekit.stages.evaluate import Answers
from edgekit.stages.evidence import Setting
from edgekit.stages.moments import Moments
from edgekit.stages.package import Contents
from edgekit.stages.recipes import Recipe
from edgekit.stages.reference import Feeds

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
    is what its evidence tells of the build, ``moments`` those of the products' inputs on ``batches``.
    """

    result: BuildResult
    contents: Contents
    batches: Sequence[Feeds]
    files: Mapping[str, Path]
    setting: Setting
    moments: Moments

    def moments_of(self, recipe: Recipe) -> Moments | None:
        """What the recipe's rounding was calibrated with, if it was."""
        return self.moments if recipe.calibrated else None

    @property
    def bundle(self) -> Path:
        return self.result.bundle

    @property
    def fp32(self) -> Path:
        return self.files["float-cpu"]

    @property
    def shipped(self) -> Variant:
        return self.result.manifest.variants[0]

    def quick_calibration(self, work: Path) -> dict[str, Calibration]:
        """On few texts: for recipes whose weights are looked at, not their answers."""
        return {"model": Calibration(self.fp32, "model", self.batches[:QUICK_TEXTS], work)}


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
    batches = bench.bases[CPU].calibrations["model"]._batches
    moments = Moments(files["float-cpu"], {"model": batches}, folder / "moments")
    return Built(result, bench.contents, batches, files, bench.setting, moments)


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
