"""Imported once, by the server that workers fork from: torch and transformers take seconds, each time."""

# ruff: noqa: E402 - the collector rests before the first of them
from __future__ import annotations

import gc

gc.disable()  # nothing that an import leaves is garbage, and the collector would look at all of it again and again

import sentence_transformers
import torch
import transformers
from optimum.exporters.tasks import TasksManager

from edgekit import pipeline
from edgekit.matrix import keys, work
from edgekit.stages import families

__all__ = ["TasksManager", "families", "pipeline", "sentence_transformers", "transformers", "work"]

keys.tools()  # reads all of edgekit's code; each worker asks for it
torch.set_num_threads(1)  # a worker must not inherit a pool whose threads did not come along
gc.freeze()  # a worker's collections leave it alone: what they looked at, they would copy
gc.enable()
