"""Imported by the server that children fork from: one small export fills what torch and onnxscript keep in memory.

Each child would otherwise read and build it again, which takes longer than the export of a tiny model.
"""

from __future__ import annotations

import torch
import transformers

from benchmarks.matrix import proof, tiny
from edgekit.stages.export import Part, export

__all__ = ["proof"]

torch.set_num_threads(1)  # a child must not inherit a pool whose threads did not come along
_IDS = torch.arange(6).reshape(2, 3)
_MODEL = tiny.tiny_model(transformers.AutoModel, tiny.tiny_config("distilbert", {"n_layers": 1}))
export(
    Part(_MODEL, {"input_ids": _IDS, "attention_mask": torch.ones_like(_IDS)}, ("last_hidden_state",), {}),
)
