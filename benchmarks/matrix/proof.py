"""The proof of one architecture and task: build it tiny, export it, compare, and put the outcome into a word."""

from __future__ import annotations

import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any, Final

import torch
import transformers
import transformers.exporters.exporter_onnx
import transformers.models.auto.modeling_auto  # imported before children fork, for their sake

from benchmarks.matrix import decoding, single, tiny
from benchmarks.matrix.failure import Failure, Stage, during
from benchmarks.matrix.judge import BOUND, Asked, Difference
from benchmarks.matrix.table import AUTO_CLASSES, GENERATING, Architecture

_BROKEN: Final = "missing, of another shape or not a number"


def prove(row: Architecture, task: str, folder: Path) -> dict[str, Any]:
    """The fields of a result: ``result`` is right, wrong, unproven or cannot, ``reason`` says why."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    kind = decoding if task in GENERATING else single
    try:
        with during(Stage.CONFIG):
            model_class = getattr(transformers, AUTO_CLASSES[task])
            model = tiny.tiny_model(model_class, tiny.tiny_config(row.name, row.config), gain=row.gain)
        with during(Stage.REFERENCE):
            asked = decoding.ask(model) if kind is decoding else single.ask(model, one_size=row.one_size)
        start = time.process_time()
        with during(Stage.EXPORT):
            paths = kind.export(model, asked, folder)
        seconds = round(time.process_time() - start, 1)
        worst = kind.compare(model, asked, paths)
    except Failure as failure:
        return {"result": "cannot", "reason": str(failure), "trace": failure.trace[-6000:]}
    found = {
        "cpu_seconds": seconds,
        "shapes": asked.shapes,
        "outputs": list(asked.names),
        "dead": list(asked.dead),
        "relative": worst.relative if math.isfinite(worst.relative) else None,
    }
    return {**found, **verdict(asked, worst)}


def verdict(asked: Asked, worst: Difference) -> dict[str, str]:
    """``result`` and ``reason``."""
    if worst.relative > BOUND:
        far = f"off by {worst.relative:.1e} of its largest value" if math.isfinite(worst.relative) else _BROKEN
        return {"result": "wrong", "reason": f"{worst.output} is {far} at {worst.where}"}
    if set(asked.dead) == set(asked.names) or "logits" in asked.dead:
        return {"result": "unproven", "reason": f"constant or not finite in torch: {', '.join(asked.dead)}"}
    return {"result": "right", "reason": ""}
