"""Tell a model that was never trained from one that was, by its weights alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def untrained(modules: Iterable[Any]) -> list[str]:
    """The doubt that a model was never trained; empty where it was, or where its weights do not tell.

    Initialisation sets every norm's weights to ones and every bias to zeros, and training changes them in its
    first steps. So where each vector among the parameters still holds one number throughout, nobody trained it:
    usually ``save_pretrained`` of a model made from a config alone. Answers cannot show this without labels.

    Args:
        modules: Torch modules, the model's parts.
    """
    vectors = [
        parameter.detach()
        for module in modules
        for parameter in module.parameters()
        if parameter.ndim == 1 and parameter.numel() > 1
    ]
    if not vectors or any(bool((vector != vector[0]).any()) for vector in vectors):
        return []
    return ["the reference was never trained: every norm and bias is as it was initialised"]
