"""The proof of one architecture and task: build it tiny, export it, compare, and put the outcome into a word."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import transformers.exporters.exporter_onnx
import transformers.models.auto.modeling_auto  # noqa: F401 -- imported before children fork, for their sake

from benchmarks.matrix import decoding, single, tiny
from benchmarks.matrix.failure import Failure, Stage, during
from benchmarks.matrix.judge import BOUND


def prove(name: str, auto_class: str, config: Mapping[str, Any], folder: Path, *, generating: bool) -> dict[str, Any]:
    """The fields of a result: ``result`` is right, wrong, unproven or cannot, ``reason`` says why."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    try:
        with during(Stage.CONFIG):
            model = tiny.tiny_model(getattr(transformers, auto_class), tiny.tiny_config(name, config))
        found = (decoding if generating else single).prove(model, folder)
    except Failure as failure:
        return {"result": "cannot", "reason": str(failure), "trace": failure.trace[-4000:]}
    if found["relative"] > BOUND:
        return {"result": "wrong", "reason": f"off by {found['relative']:.1e}: {found['worst']}", **found}
    if not found["proved"]:
        return {"result": "unproven", "reason": f"constant or not finite in torch: {', '.join(found['dead'])}", **found}
    return {"result": "right", "reason": "", **found}
