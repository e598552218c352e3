"""Calibrate: what the float graph's activations look like on inputs kept for this and never for judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.stages import component_files, overflow, sensitivity, static_int8
from edgekit.stages.inner_session import write_and_open
from edgekit.stages.products import Matrix, products
from edgekit.stages.reference import Feeds
from edgekit.stages.smooth import Bounds

SENSITIVITY_INPUTS: Final = 16


class Calibration:
    """Measurements on a component's float graph, each taken when a recipe first asks for it.

    Args:
        fp32: Folder of the float graphs.
        component: Which of them.
        batches: Its inputs, one input each (padding would count as activation).
        work: A folder for graphs with inner values as outputs.
    """

    def __init__(self, fp32: Path, component: str, batches: Sequence[Feeds], work: Path) -> None:
        self._fp32 = fp32
        self._component = component
        self._batches = batches
        self._work = work

    @cached_property
    def bounds(self) -> Mapping[str, Bounds]:
        """What each channel holds at every product's input, by value name.

        Halfway between what it reaches over one input on average and over all of them: a dynamic range is taken from
        one call, whose inputs are few, so a value that one input in hundreds has says little about the others' step.
        """
        extremes: dict[str, Bounds] = {}
        sums: dict[str, Bounds] = {}
        for activations in self._activations(self._batches):
            for name, value in activations.items():
                rows = value.reshape(-1, value.shape[-1])
                low, high = rows.min(axis=0), rows.max(axis=0)
                if name in extremes:
                    sums[name] = sums[name][0] + low, sums[name][1] + high
                    low, high = np.minimum(extremes[name][0], low), np.maximum(extremes[name][1], high)
                else:
                    sums[name] = low, high
                extremes[name] = low, high
        count = len(self._batches)
        return {
            name: ((low + sums[name][0] / count) / 2, (high + sums[name][1] / count) / 2)
            for name, (low, high) in extremes.items()
        }

    def spared(self, share: float) -> Sequence[str]:
        """Names of the product weights that a share of all multiplications in float is best spent on.

        See :func:`.sensitivity.most_harmful`.
        """
        return sensitivity.most_harmful(self._harms, self._sizes, share)

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        model = component_files.load_one(self._fp32, self._component)
        return {product.name: product.matrix().size for product in products(model.graph)}

    @cached_property
    def _harms(self) -> Mapping[str, float]:
        inputs = self._batches[:SENSITIVITY_INPUTS]
        return sensitivity.harms(self._fp32, self._component, inputs, self._work / "switches")

    @cached_property
    def overflow(self) -> overflow.Overflow:
        """What float16 cannot hold of the float graph."""
        return overflow.probe(self._fp32, self._component, self._batches, self._work / "overflow")

    def static_scales(self, model: ir.Model) -> Mapping[str, float]:
        """Scales for the inputs of a graph's products, such as the smoothed float graph's."""
        return static_int8.activation_scales(model, self._component, self._batches, self._work / "static")

    def _activations(self, batches: Sequence[Feeds]) -> Iterator[dict[str, Matrix]]:
        """For each batch the values at the products' inputs, by name."""
        model = component_files.load_one(self._fp32, self._component)
        inner = {product.x.name or "": product.x for product in products(model.graph)}
        model.graph.outputs[:] = list(inner.values())
        session = write_and_open(model, self._component, self._work / "activations")
        for feeds in batches:
            yield dict(zip(inner, session.run(list(inner), dict(feeds)), strict=True))
