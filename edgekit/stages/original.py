"""The original as builds of one model share it: its exported graphs and its answers, kept in a folder.

Both follow from the checkpoint, the task and the data alone. Targets, recipes and budgets come later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgekit.runtime.answers import Raw
from edgekit.stages import component_files

GRAPHS: Final = "graphs"
ANSWERS: Final = "answers.npz"


def write(folder: Path, graphs: Mapping[str, ir.Model], raw: Sequence[Raw]) -> None:
    """Write both down.

    Args:
        folder: Where; made if need be.
        graphs: As exported, by component.
        raw: The original's answer to each case, arrays by name.
    """
    component_files.save(graphs, folder / GRAPHS)
    named = {f"{place}.{name}": array for place, answer in enumerate(raw) for name, array in answer.items()}
    with (folder / ANSWERS).open("wb") as stream:
        np.savez(stream, **named)  # type: ignore[arg-type]  # its stub takes all names for options


def read_graphs(folder: Path) -> dict[str, ir.Model]:
    """The graphs by component, weights in memory."""
    return component_files.load(folder / GRAPHS)


def read_answers(folder: Path) -> list[Raw]:
    """The answers, in the order they were given."""
    answers: list[dict[str, npt.NDArray[Any]]] = []
    with np.load(folder / ANSWERS, allow_pickle=False) as archive:
        for key in archive.files:
            place, _, name = key.partition(".")
            if int(place) == len(answers):
                answers.append({})
            answers[int(place)][name] = archive[key]
    return list(answers)
