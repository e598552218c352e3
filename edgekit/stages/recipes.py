"""Recipes: named ways to make a variant; which there are is in :mod:`.ladder`.

A recipe is a list of passes on a copy of each float graph. Each says what it changed, and one that
changed nothing is an error: a file that claims int8 holds int8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgekit.spec.parity import Check
from edgekit.stages import component_files
from edgekit.stages.blockwise import quantize_blocks
from edgekit.stages.calibrate import Calibration
from edgekit.stages.column_rounding import calibrated_columns
from edgekit.stages.generating import quantize_components
from edgekit.stages.half import to_half
from edgekit.stages.ladder import Recipe
from edgekit.stages.moments import CalibratedRounding, Moments
from edgekit.stages.quantize import quantize_embeddings, quantize_products
from edgekit.stages.start import Smoothed, Start
from edgekit.stages.static_int8 import quantize_static


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a variant.

    Attributes:
        start: The float graphs that its numbers come from: the original's, or those with smoothed inputs.
        moments: Of these products' inputs, where the recipe's rounding is calibrated.
        changed: What was done, for the evidence, such as ``36 products smoothed, 36 products int8``.
        checks: That smoothing changed no answer, where there was any.
    """

    start: Start
    moments: Moments | None
    changed: str
    checks: tuple[Check, ...] = ()


def make(recipe: Recipe, start: Start, folder: Path) -> Made:
    """Make a variant's files.

    Args:
        recipe: What to do.
        start: The float graphs, and what is measured on them.
        folder: Where the graphs and their weights go.

    Raises:
        ExportError: A pass found nothing to do.
    """
    done: dict[str, int] = {}
    checks: tuple[Check, ...] = ()
    spared: Mapping[str, Sequence[str]] = {}
    if recipe.smooth:
        smoothed = _smoothed(recipe, start)
        start, checks, spared = smoothed.start, (smoothed.check,), smoothed.spared
        done.update(smoothed.changed)
    models = component_files.load(start.folder)
    moments = start.moments if recipe.calibrated else None
    for what, count in _changes(recipe, models, start.calibrations, moments, spared):
        done[what] = done.get(what, 0) + count
    component_files.save(models, folder)
    changed = ", ".join(f"{count} {what}" for what, count in done.items() if count) or "nothing changed"
    return Made(start, moments, changed, checks)


def _smoothed(recipe: Recipe, start: Start) -> Smoothed:
    if recipe.spare:
        return start.smoothed_sparing(recipe.spare)
    return start.smoothed_without_outliers if recipe.calibrated else start.smoothed


def _changes(
    recipe: Recipe,
    models: Mapping[str, ir.Model],
    calibrations: Mapping[str, Calibration],
    moments: Moments | None,
    spared: Mapping[str, Sequence[str]],
) -> Iterator[tuple[str, int]]:
    if recipe.generates is not None:
        rounding = CalibratedRounding(moments) if moments is not None else None
        yield from quantize_components(models, recipe.generates, rounding)
        return
    for component, model in models.items():
        yield from _change(recipe, model, calibrations[component], moments, spared.get(component, ()))


def _change(
    recipe: Recipe, model: ir.Model, calibration: Calibration, moments: Moments | None, spared: Sequence[str]
) -> Iterator[tuple[str, int]]:
    if recipe.precision == "float16":
        yield from to_half(model, calibration.overflow).items()
    if recipe.products == "static":
        yield "products int8 with static ranges", quantize_static(model, calibration.static_scales(model))
    elif recipe.products == "dynamic":
        rounding = calibrated_columns(moments) if moments is not None else None
        yield "products int8", quantize_products(model, spare=spared, rounding=rounding)
        if spared:
            yield "products spared", len(spared)
    elif recipe.products == "blockwise":
        yield f"products int{recipe.bits} by blocks", quantize_blocks(model, bits=recipe.bits, block=recipe.block)
    if recipe.products in ("dynamic", "blockwise"):
        yield "embedding tables int8 by rows", quantize_embeddings(model)
