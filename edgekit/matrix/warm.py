"""Imported once, by the server that workers fork from: torch and transformers take seconds, each time."""

from __future__ import annotations

import sentence_transformers
import torch
import transformers
from optimum.exporters.tasks import TasksManager

from edgekit.matrix import work
from edgekit.stages import families

__all__ = ["TasksManager", "families", "sentence_transformers", "transformers", "work"]

torch.set_num_threads(1)  # a worker must not inherit a pool whose threads did not come along
