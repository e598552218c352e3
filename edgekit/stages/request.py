"""What a build is asked for; it imports nothing that builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgekit.errors import UsageError
from edgekit.spec.reader import nearest

OBJECTIVES: Final = ("latency", "size", "accuracy")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    Attributes:
        model: A name from ``models/``, a local folder, or a hub id.
        targets: Names of targets.
        output: The bundle's folder.
        task: A Hugging Face task name; from the checkpoint where None.
        data: A file to calibrate and judge on; the model's own or the built-in corpus where None.
        recipe: The only recipe to try; all in order where None.
        revision: Of the hub id.
        token: For the hub.
        allow_unproven: Ship what could not be proven, and say so in the evidence.
        allow_pickle: Read a checkpoint that has no safetensors.
        replace: Whether a bundle at ``output`` may be replaced.
        optimize: One of :data:`OBJECTIVES`: try all recipes and ship the best; the first that
            passes where None.
        budget: Bounds by name in the place of the task's own, such as ``neighbours_min``; written into the evidence.
        original: A folder that :func:`edgekit.pipeline.keep_original` wrote for the same model, task and data; the
            model is exported and asked again where None.
    """

    model: str
    targets: tuple[str, ...]
    output: Path
    task: str | None = None
    data: Path | None = None
    recipe: str | None = None
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    allow_unproven: bool = False
    allow_pickle: bool = False
    replace: bool = False
    optimize: str | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    original: Path | None = None


def check_objective(objective: str | None, recipe: str | None) -> None:
    """Refuse what cannot be searched for, before anything is loaded.

    Raises:
        UsageError: No such objective, or only one recipe to choose from.
    """
    if objective is not None and objective not in OBJECTIVES:
        hint = nearest(objective, OBJECTIVES) or f"objectives: {', '.join(OBJECTIVES)}"
        raise UsageError(f"{objective!r} is nothing to optimize", hint=hint)
    if objective is not None and recipe is not None:
        raise UsageError("--optimize chooses the recipe", hint="leave out --recipe")
