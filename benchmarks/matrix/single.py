"""Models that answer in one forward: ask torch at several sizes and batches, export, compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.matrix import graphs
from benchmarks.matrix.failure import Stage, during
from benchmarks.matrix.judge import Answers, Asked, Difference, dead_outputs, difference
from benchmarks.matrix.samples import BATCHES, EXPORT, EXPORT_BATCH, SHAPES, SQUARE, Shape, sample

_Feeds = Mapping[str, torch.Tensor]


def ask(model: Any, *, one_size: bool = False) -> Asked:
    """Torch's answers at three shapes, or at the one it takes, and at every batch.

    Args:
        model: A torch model of transformers, float32.
        one_size: Ask for one size of picture, though torch takes others.
    """
    shapes = (SQUARE,) if one_size else _shapes(model)
    cases = [
        (f"batch {batch}, {_words(feeds)}", feeds)
        for shape in shapes
        for batch in BATCHES
        for feeds in [sample(model, batch, shape, seed=17 * batch + shape.tokens)]
    ]
    references = [answers(model, feeds) for _, feeds in cases]
    again = answers(model, sample(model, BATCHES[-1], shapes[0], seed=999))
    return Asked(
        cases=cases,
        references=[[one] for one in references],
        tokens=[],
        shapes=len(shapes),
        names=tuple(references[0]),
        dead=dead_outputs([references[len(BATCHES) - 1], again]),
    )


def export(model: Any, asked: Asked, folder: Path) -> dict[str, Path]:
    """Export the model through edgekit; returns the graph's path by its component."""
    pictures = {str(feeds["pixel_values"].shape[2:]) for _, feeds in asked.cases if "pixel_values" in feeds}
    fixed = asked.shapes == 1 or len(pictures) == 1
    feeds = sample(model, EXPORT_BATCH, SQUARE if fixed else EXPORT, seed=3)
    return {"model": graphs.export_single(model, feeds, asked.names, folder)}


def compare(model: Any, asked: Asked, paths: Mapping[str, Path]) -> Difference:
    """The worst case of all."""
    del model  # a graph that answers at once knows all it needs
    with during(Stage.OPEN):
        session = graphs.open_session(paths["model"])
    worst, sizes = Difference("", 0.0, ""), asked.sizes()
    for (where, feeds), (expected,) in zip(asked.cases, asked.references, strict=True):
        with during(Stage.RUN, where):
            got = graphs.run(session, {name: value.numpy() for name, value in feeds.items()})
        worst = max(worst, difference(expected, got, sizes, where), key=lambda one: one.relative)
    return worst


def answers(model: Any, feeds: _Feeds) -> Answers:
    """What torch answers: the tensors at the top of the output, caches and inner states aside."""
    with torch.no_grad():
        output = model(**{name: value.clone() for name, value in feeds.items()})
    if isinstance(output, torch.Tensor):
        return {"output": output.numpy()}
    items = output.items() if hasattr(output, "items") else enumerate(output)
    return {
        str(name): np.asarray(value.detach())
        for name, value in items
        if isinstance(value, torch.Tensor) and value.ndim and value.numel() and not str(name).startswith("encoder_")
    }


def _shapes(model: Any) -> tuple[Shape, ...]:
    """The shapes torch itself takes: three, or the one size the model is made for."""
    if _takes(model, (EXPORT, *SHAPES)):
        return SHAPES
    answers(model, sample(model, EXPORT_BATCH, SQUARE, seed=1))  # must pass: it is the model's own size
    # Where pictures have one size, the text beside them may still be free.
    texts = tuple(Shape(shape.tokens, SQUARE.height, SQUARE.width, SQUARE.audio) for shape in SHAPES)
    sizes = {str({name: value.shape for name, value in sample(model, 1, shape, seed=1).items()}) for shape in texts}
    return texts if len(sizes) == len(texts) and _takes(model, texts) else (SQUARE,)


def _takes(model: Any, shapes: tuple[Shape, ...]) -> bool:
    try:
        for shape in shapes:
            answers(model, sample(model, EXPORT_BATCH, shape, seed=1))
    except Exception:  # noqa: BLE001 -- whatever the model complains of: it does not take this size
        return False
    return True


def _words(feeds: _Feeds) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, value.shape))}" for name, value in feeds.items() if "mask" not in name)
