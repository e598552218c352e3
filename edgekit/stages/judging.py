"""Judge: make one variant and ask it, as a draft bundle, through the code that runs on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgekit.bundle.reading import Bundle
from edgekit.errors import ExportError, HostError
from edgekit.runtime.answers import WORST
from edgekit.runtime.loading import open_variant
from edgekit.spec.manifest import Variant
from edgekit.spec.parity import Parity
from edgekit.spec.provider import CPU
from edgekit.stages import elsewhere, evaluate, ladder, package, recipes, weights
from edgekit.stages.bench import Bench
from edgekit.stages.evidence import Trial
from edgekit.stages.ladder import Recipe
from edgekit.stages.start import Start

# A self-test on another CPU may differ this much from the build machine's worst golden case.
SELF_TEST_SLACK: Mapping[str, float] = {"float32": 1e-4, "float16": 5e-3, "int8": 5e-3, "int4": 1e-2}


def check_export(bench: Bench, targets: tuple[str, ...]) -> None:
    """Ask the float graphs of these targets before anything is quantized.

    Raises:
        ExportError: They do not answer like the original.
    """
    variant = package.describe(ladder.FP32, targets, bench.contents.components)
    draft = bench.folder / "drafts" / bench.start(targets).folder.name
    package.draft(bench.contents, [(variant, bench.start(targets).folder)], draft)
    with open_variant(Bundle.open(draft), variant, provider=CPU) as model:
        evaluate.check_export(model, bench.setting.answers)


def try_recipe(bench: Bench, recipe: Recipe, targets: tuple[str, ...]) -> tuple[Variant, Trial]:
    """Make one variant and judge it as a draft bundle, through the code that runs on the device."""
    provider = bench.contents.targets[targets[0]].execution_provider
    variant = package.describe(recipe, targets, bench.contents.components, provider)
    files = bench.folder / "work" / variant.name
    start = bench.start(targets)
    try:
        made = recipes.make(recipe, start, files)
    except ExportError as error:  # this recipe does not fit the architecture: a reason to climb, not to stop
        return variant, _left(recipe, variant, error)
    report = weights.compare_weights(files, made.start.folder, made.moments)
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
                (*made.checks, *report.checks(saturating_target=saturating)),
            )
            worst = model.self_test().worst
    except HostError as error:  # ONNX Runtime does not open or run every file that a pass can write
        return variant, _left(recipe, variant, error, made.changed)
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
    overflow = _overflow(start) if recipe.precision == ladder.FP16.precision else {}
    return variant, Trial(recipe.name, variant.name, recipe.precision, targets, made.changed, size, parity, overflow)


def _left(recipe: Recipe, variant: Variant, error: ExportError | HostError, changed: str = "") -> Trial:
    """A recipe of which there was nothing to judge."""
    parity = Parity("fail", error.message, ())
    ran = not isinstance(error, HostError)
    return Trial(recipe.name, variant.name, recipe.precision, variant.targets, changed, 0, parity, ran=ran)


def _overflow(start: Start) -> dict[str, Any]:
    return {name: calibration.overflow.to_json() for name, calibration in start.calibrations.items()}
