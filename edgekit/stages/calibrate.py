"""Calibrate: what the float graph's activations look like on texts kept for this and never for judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgekit.stages import export
from edgekit.stages.products import products

Feeds = Mapping[str, np.ndarray]


def product_input_ranges(fp32: Path, batches: Sequence[Feeds], work: Path) -> dict[str, np.ndarray]:
    """The largest magnitude per channel at every product's input.

    Args:
        fp32: Folder of the float graph.
        batches: Inputs of the graph, one text each (padding would count as activation).
        work: A folder for the graph with the inner values as outputs.

    Returns:
        By value name, float32 (channels,).
    """
    model = export.load(fp32)
    inner = {product.x.name or "": product.x for product in products(model.graph)}
    model.graph.outputs[:] = list(inner.values())
    session = open_session(export.save(model, work))
    names = list(inner)
    ranges: dict[str, np.ndarray] = {}
    for feeds in batches:
        for name, value in zip(names, session.run(names, dict(feeds)), strict=True):
            largest = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            ranges[name] = np.maximum(ranges[name], largest) if name in ranges else largest
    return ranges


def open_session(path: Path) -> ort.InferenceSession:
    """A plain CPU session on a file of our own making, for measuring inside the build."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
