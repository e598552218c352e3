"""Models that answer in one forward: export, run at several sizes and batches, compare with torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.matrix import graphs
from benchmarks.matrix.failure import Stage, during
from benchmarks.matrix.judge import BOUND, Answers, Difference, dead_outputs, difference
from benchmarks.matrix.samples import BATCHES, EXPORT, EXPORT_BATCH, SHAPES, SQUARE, Shape, sample

_FEEDS = Mapping[str, torch.Tensor]


def prove(model: Any, folder: Path, *, one_size: bool = False) -> dict[str, Any]:
    """Export ``model`` and compare; returns the fields of a result, or raises :class:`.failure.Failure`.

    Args:
        model: A torch model of transformers, float32.
        folder: Where the graph is written.
        one_size: Prove one size of picture, though torch takes others.
    """
    with during(Stage.REFERENCE):
        free, shapes = (False, (SQUARE,)) if one_size else _shapes(model)
        cases = [
            (f"batch {batch}, {_words(feeds)}", feeds)
            for shape in shapes
            for batch in BATCHES
            for feeds in [sample(model, batch, shape, seed=17 * batch + shape.tokens)]
        ]
        references = [answers(model, feeds) for _, feeds in cases]
        again = answers(model, sample(model, BATCHES[-1], shapes[0], seed=999))
    dead = dead_outputs([references[len(BATCHES) - 1], again])
    start = time.perf_counter()
    with during(Stage.EXPORT):
        feeds = sample(model, EXPORT_BATCH, EXPORT if free else SQUARE, seed=3)
        path = graphs.export_single(model, feeds, tuple(references[0]), folder)
    seconds = time.perf_counter() - start
    with during(Stage.OPEN):
        session = graphs.open_session(path)
    worst = Difference("", 0.0, "")
    for (where, feeds), expected in zip(cases, references, strict=True):
        with during(Stage.RUN, where):
            got = run(session, feeds)
        found = difference(expected, got, where)
        worst = max(worst, found, key=lambda one: one.relative)
    return {
        "seconds": round(seconds, 1),
        "shapes": len(shapes),
        "outputs": list(references[0]),
        "dead": list(dead),
        "proved": len(dead) < len(references[0]),
        "relative": worst.relative,
        "worst": f"{worst.output} at {worst.where}" if worst.relative > BOUND else "",
    }


def answers(model: Any, feeds: _FEEDS) -> Answers:
    """What torch answers: the tensors at the top of the output, caches and inner states aside."""
    with torch.no_grad():
        output = model(**{name: value.clone() for name, value in feeds.items()})
    if isinstance(output, torch.Tensor):
        return {"output": output.numpy()}
    items = output.items() if hasattr(output, "items") else enumerate(output)
    return {
        str(name): value.detach().numpy()
        for name, value in items
        if isinstance(value, torch.Tensor) and value.numel() and not str(name).startswith("encoder_")
    }


def run(session: onnxruntime.InferenceSession, feeds: _FEEDS) -> Answers:
    """What the graph answers to the same inputs."""
    names = [value.name for value in session.get_outputs()]
    taken = {value.name for value in session.get_inputs()}
    found = session.run(names, {name: value.numpy() for name, value in feeds.items() if name in taken})
    return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}


def _shapes(model: Any) -> tuple[bool, tuple[Shape, ...]]:
    """The shapes torch itself takes: three, or the one size the model is made for."""
    try:
        answers(model, sample(model, EXPORT_BATCH, EXPORT, seed=1))
        for shape in SHAPES:
            answers(model, sample(model, 1, shape, seed=1))
    except Exception:  # noqa: BLE001 -- any complaint of the model means it has one size; SQUARE then must pass
        answers(model, sample(model, EXPORT_BATCH, SQUARE, seed=1))
        # Of a fixed image the text beside it is still free.
        tokens = tuple(Shape(shape.tokens, 1, 1, SQUARE.audio) for shape in SHAPES)
        try:
            for shape in tokens:
                answers(model, sample(model, 1, shape, seed=1))
        except Exception:  # noqa: BLE001 -- see above
            return False, (SQUARE,)
        changes = len({str({n: v.shape for n, v in sample(model, 1, shape, seed=1).items()}) for shape in tokens}) > 1
        return False, tokens if changes else (SQUARE,)
    return True, SHAPES


def _words(feeds: _FEEDS) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, value.shape))}" for name, value in feeds.items() if "mask" not in name)
