"""The proof of one architecture and task: build it tiny, export it, compare, and put the outcome into a word."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
import transformers.exporters.exporter_onnx
import transformers.models.auto.modeling_auto  # imported before children fork, for their sake

from benchmarks.matrix import decoding, single, tiny
from benchmarks.matrix.failure import Failure, Stage, during
from benchmarks.matrix.judge import BOUND
from benchmarks.matrix.table import AUTO_CLASSES, GENERATING, Architecture


def prove(row: Architecture, task: str, folder: Path) -> dict[str, Any]:
    """The fields of a result: ``result`` is right, wrong, unproven or cannot, ``reason`` says why."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    try:
        with during(Stage.CONFIG):
            model_class = getattr(transformers, AUTO_CLASSES[task])
            model = tiny.tiny_model(model_class, tiny.tiny_config(row.name, row.config), gain=row.gain)
        if task in GENERATING:
            found = decoding.prove(model, folder)
        else:
            found = single.prove(model, folder, one_size=row.one_size)
    except Failure as failure:
        return {"result": "cannot", "reason": str(failure), "trace": failure.trace[-6000:]}
    if found["relative"] > BOUND:
        return {"result": "wrong", "reason": f"off by {found['relative']:.1e}: {found['worst']}", **found}
    if not found["proved"]:
        return {"result": "unproven", "reason": f"constant or not finite in torch: {', '.join(found['dead'])}", **found}
    return {"result": "right", "reason": "", **found}
