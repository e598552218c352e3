"""Moments: what a product's inputs look like on calibration data, as far as rounding its weights needs to know.

The second moment of a product's inputs, ``H = mean(x x')``, says what a change of its weights does to its outputs: an
error ``e`` of a row costs ``e H e`` on average. See :mod:`.rounding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgekit.stages import component_files
from edgekit.stages.block_tables import split_gemms, table_products
from edgekit.stages.blockwise import stored
from edgekit.stages.inner_session import write_and_open
from edgekit.stages.products import Matrix, constant, products
from edgekit.stages.reference import Feeds
from edgekit.stages.rounding import Rounded, damped, output_errors, plain, round_calibrated

AT_ONCE_BYTES: Final = 1 << 30  # of moments held while inputs run; a larger model's take several passes
ROWS_AT_ONCE: Final = 1024
TIED: Final = 1.0  # a tied table's rows are read as they are, too: their own errors count beside those of the logits


class Moments:
    """Second moments of all products' inputs, measured when one is first asked for, and kept as files.

    Args:
        fp32: Folder of the float graphs.
        batches: Inputs by component, one input each (padding would count); a component without any measures nothing.
        work: A folder for moments and for graphs with inner values as outputs.
    """

    def __init__(self, fp32: Path, batches: Mapping[str, Sequence[Feeds]], work: Path) -> None:
        self._fp32 = fp32
        self._batches = batches
        self._work = work

    def of(self, weight: str) -> Matrix | None:
        """The damped moment of what the weight of that name is multiplied with, float32 (inputs, inputs), or None."""
        path = self._files.get(weight)
        if path is None:
            return None
        moment = damped(np.load(path))
        if weight in self._tied:
            moment += np.eye(len(moment), dtype=np.float32) * np.float32(TIED * np.trace(moment) / len(moment))
        return moment

    @cached_property
    def _tied(self) -> frozenset[str]:
        models = [component_files.load_one(self._fp32, name) for name in self._batches]
        return frozenset(table.name or "" for model in models for table, _ in table_products(model.graph))

    @cached_property
    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for component, batches in self._batches.items():
            if batches:
                for name, path in self._measure(component, batches):
                    found.setdefault(name, path)
        return found

    def _measure(self, component: str, batches: Sequence[Feeds]) -> Iterator[tuple[str, Path]]:
        """Weights' names, each with the file of its moment; weights of one input share it."""
        folder = self._work / component
        model = component_files.load_one(self._fp32, component)
        split_gemms(model)
        read = [(product.name, product.x) for product in products(model.graph)]
        read += [(table.name or "", x) for table, x in table_products(model.graph)]
        widths = {x.name or "": _width(model.graph, name) for name, x in read}
        values = {x.name or "": x for _, x in read}
        for number, group in enumerate(_groups(widths)):
            model.graph.outputs[:] = [values[name] for name in group]
            sums = _sums(write_and_open(model, component, folder), group, batches)
            for place, (name, total) in enumerate(zip(group, sums, strict=True)):
                path = folder / f"moment-{number}-{place}.npy"
                np.save(path, total)
                yield from ((weight, path) for weight, x in read if x.name == name)


class CalibratedRounding:
    """Rounds each weight once, for whichever component asks first, so that components still share their bytes.

    Args:
        moments: Of the products' inputs; a weight without one is rounded to the nearest.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._done: dict[tuple[str, int, int], Rounded] = {}

    def __call__(self, name: str, rows: Matrix, bits: int, block: int) -> tuple[Matrix, Matrix]:
        """As a :data:`~edgekit.stages.blockwise.Rounding`."""
        done = self.rounded(name, rows, bits, block)
        return stored(done.integers.reshape(*done.scales.shape, -1), bits), done.scales

    def rounded(self, name: str, rows: Matrix, bits: int, block: int) -> Rounded:
        """The rows as integers and scales."""
        key = (name, bits, block)
        if key not in self._done:
            moment = self._moments.of(name)
            self._done[key] = (
                plain(rows, bits, block) if moment is None else round_calibrated(rows, bits, block, moment)
            )
        return self._done[key]

    def disturbance(self, name: str, rows: Matrix, bits: int, block: int) -> float:
        """Energy of the outputs' error as a share of the outputs' own; 0 where nothing was measured."""
        moment = self._moments.of(name)
        if moment is None:
            return 0.0
        off = output_errors(rows, self.rounded(name, rows, bits, block).values(), moment).sum()
        return float(off / max(output_errors(rows, np.zeros_like(rows), moment).sum(), 1e-30))


def _width(graph: ir.Graph, weight: str) -> int:
    """Inputs of a weight: a product's has them first, a table that is multiplied with transposed last."""
    shape = constant(graph.initializers[weight]).shape
    return int(
        shape[1] if any(node.op_type == "FusedMatMul" for node, _ in graph.initializers[weight].uses()) else shape[0]
    )


def _groups(widths: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name, width in widths.items():
        if group and size + 4 * width**2 > AT_ONCE_BYTES:
            yield group
            group, size = [], 0
        group.append(name)
        size += 4 * width**2
    if group:
        yield group


def _sums(session: ort.InferenceSession, names: Sequence[str], batches: Sequence[Feeds]) -> list[Matrix]:
    sums: list[Matrix] = []
    rows = 0
    waiting: list[list[Matrix]] = []
    for number, feeds in enumerate(batches, 1):
        waiting.append([value.reshape(-1, value.shape[-1]) for value in session.run(list(names), dict(feeds))])
        # A product of few rows takes as long as writing its result down, so texts are added up together.
        if sum(len(values[0]) for values in waiting) >= ROWS_AT_ONCE or number == len(batches):
            together = [np.concatenate(values) for values in zip(*waiting, strict=True)]
            rows += len(together[0])
            parts = [x.T @ x for x in together]
            sums = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
            waiting = []
    return [total / np.float32(max(rows, 1)) for total in sums]
