"""Calibrate: what the float graph's activations look like on inputs kept for this and never for judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgekit.stages import component_files, overflow, static_int8
from edgekit.stages.inner_session import open_component
from edgekit.stages.products import Matrix, products
from edgekit.stages.quantize import column_scales, symmetric
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

    @cached_property
    def sensitive(self) -> Sequence[str]:
        """Names of the graph's product weights, the one whose answers int8 disturbs most first.

        Measured for each product as the energy of the error relative to the answer's, with both
        operands rounded as :mod:`.quantize` and ``DynamicQuantizeLinear`` round them.
        """
        model = component_files.load_one(self._fp32, self._component)
        weights = {product.name: (product.x.name or "", product.matrix()) for product in products(model.graph)}
        rounded = {name: _rounded_weight(matrix) for name, (_, matrix) in weights.items()}
        error = dict.fromkeys(weights, 0.0)
        energy = dict.fromkeys(weights, 1e-30)
        for activations in self._activations(self._batches[:SENSITIVITY_INPUTS]):
            for name, (x_name, matrix) in weights.items():
                x = activations[x_name].reshape(-1, matrix.shape[0])
                answer = x @ matrix
                error[name] += float(((_rounded_activation(x) @ rounded[name] - answer) ** 2).sum())
                energy[name] += float((answer**2).sum())
        return sorted(weights, key=lambda name: -error[name] / energy[name])

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
        component_files.save({self._component: model}, self._work / "activations")
        session = open_component(self._work / "activations", self._component)
        for feeds in batches:
            yield dict(zip(inner, session.run(list(inner), dict(feeds)), strict=True))


def _rounded_weight(matrix: Matrix) -> Matrix:
    integers, scale = symmetric(matrix, column_scales(matrix))
    return integers.astype(np.float32) * scale


def _rounded_activation(x: Matrix) -> Matrix:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / 255 or 1.0
    zero = np.rint(-low / scale)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale, np.float32)
