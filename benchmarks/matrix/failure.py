"""A failure in plain words: which part, and why."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from edgekit.errors import ExportError
from edgekit.stages.reasons import why


class Stage(StrEnum):
    """The part of the work that failed."""

    CONFIG = "building the tiny model"
    REFERENCE = "running it in torch"
    EXPORT = "exporting"
    OPEN = "opening the graph"
    RUN = "running the graph"


class Failure(Exception):  # noqa: N818 -- a result of the matrix, not an error of it
    """One part failed; ``str()`` is the sentence for the table, ``trace`` is for who mends it."""

    def __init__(self, stage: Stage, where: str, error: BaseException) -> None:
        self.stage = stage
        self.trace = "".join(traceback.format_exception(error))
        super().__init__(f"{stage}{f' ({where})' if where else ''}: {plain(error)}")


# What ONNX Runtime says -> what it means. Export's own reasons are in edgekit.stages.reasons.
_MEANINGS: Final = (
    (
        r"Got invalid dimensions for input: (\S+) .*?index: (\d+) Got: (\d+) Expected: (\d+)",
        r"dimension \2 of input \1 is fixed to \4 in the graph; \3 was fed",
    ),
    (r"Attempting to broadcast .*? (\d+) by (\d+)", r"a size inside the graph is fixed: \1 meets \2"),
    (r"cannot be reshaped to the requested shape", "a size inside the graph is fixed: a Reshape does not fit"),
    (
        r"running Gather node.*?indices element out of data bounds",
        "the graph looks for a row that is not there: the batch it was traced with is fixed inside it",
    ),
    (r"Required inputs \((.*?)\) are missing", r"the graph asks for inputs the model does not name: \1"),
)


@contextlib.contextmanager
def during(stage: Stage, where: str = "") -> Iterator[None]:
    """Name the part in which an exception happened."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        raise Failure(stage, where, error) from error


def plain(error: BaseException) -> str:
    """One line: edgekit's own message where it is edgekit's error, else what the message means."""
    if isinstance(error, ExportError):
        return error.message
    for pattern, meaning in _MEANINGS:
        match = re.search(pattern, str(error), re.DOTALL)
        if match:
            return match.expand(meaning)
    return re.sub(r"\x1b\[[0-9;]*m", "", why(error).text)
