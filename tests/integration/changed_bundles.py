"""Copies of a bundle with one thing changed, sealed again: what a check must see."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import write_manifests
from edgekit.spec.manifest import MANIFEST_NAME


def changed_copy(bundle: Path, folder: Path, change: Callable[[Path], None] = lambda folder: None, **fields) -> Path:
    """A copy whose files ``change`` has changed, its manifest sealed with other ``fields``."""
    manifest = Bundle.open(bundle).manifest
    shutil.copytree(bundle, folder)
    (folder / MANIFEST_NAME).unlink()
    change(folder)
    write_manifests(folder, dataclasses.replace(manifest, **fields))
    return folder


def slower_copy(bundle: Path, folder: Path, width: int, *, seed: int = 0) -> Path:
    """A copy of a one-graph bundle whose first float activation passes a further feed-forward block.

    The block has ``width`` hidden units and adds nothing, for it is multiplied by zero, which no optimizer knows: the
    answers stay, the time does not.
    """
    variant = Bundle.open(bundle).manifest.variants[0]

    def change(copy: Path) -> None:
        path = copy / variant.graph_path("model")
        model = onnx.load(path, load_external_data=False)
        _add_block(model.graph, width, np.random.default_rng(seed))
        path.write_bytes(model.SerializeToString())

    return changed_copy(bundle, folder, change)


def _add_block(graph: onnx.GraphProto, width: int, random: np.random.Generator) -> None:
    norm = next(node for node in graph.node if node.op_type == "LayerNormalization")
    size = next(init for init in graph.initializer if init.name == norm.input[1]).dims[0]
    old, new = norm.output[0], f"{norm.output[0]}-before-block"
    norm.output[0] = new
    for name, value in (
        ("block-in", random.normal(0, 0.02, (size, width)).astype(np.float32)),
        ("block-out", random.normal(0, 0.02, (width, size)).astype(np.float32)),
        ("block-zero", np.zeros(size, np.float32)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
    place = list(graph.node).index(norm) + 1
    nodes = [
        helper.make_node("MatMul", [new, "block-in"], ["block-1"]),
        helper.make_node("Relu", ["block-1"], ["block-2"]),
        helper.make_node("MatMul", ["block-2", "block-out"], ["block-3"]),
        helper.make_node("Mul", ["block-3", "block-zero"], ["block-4"]),
        helper.make_node("Add", [new, "block-4"], [old]),
    ]
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)
