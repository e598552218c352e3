"""A failure in plain words: which part, why, and what to do."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """The part of the work that failed."""

    CONFIG = "building the tiny model"
    REFERENCE = "running it in torch"
    EXPORT = "tracing and translating it"
    OPEN = "opening the graph in ONNX Runtime"
    RUN = "running the graph"


class Failure(Exception):  # noqa: N818 -- a result of the matrix, not an error of it
    """One part failed; ``str()`` is the sentence for the table."""

    def __init__(self, stage: Stage, where: str, error: BaseException) -> None:
        self.stage = stage
        self.trace = "".join(traceback.format_exception(error))
        text = plain(error)
        super().__init__(f"{stage}{f' ({where})' if where else ''}: {text}")


# What the message holds -> what it means. First match wins.
_MEANINGS: Final = (
    (r"requires the (\w+) library", r"needs the package \1, which edgekit does not install"),
    ("requires an NVIDIA|No CUDA|flash_attn", "needs a GPU kernel"),
    ("Unrecognized configuration class", "transformers has no model class of this type for the task"),
    (
        "Could not guard on|GuardOnDataDependent|data-dependent expression",
        "a branch or a size depends on the values of a tensor, which a graph cannot hold",
    ),
    ("Constraints violated|was specialized", "a dimension that should be free is fixed by the model's code"),
    (r"No ONNX function found for.*?op='([^']+)'", r"ONNX has no translation of the torch operation \1"),
    (r"No decompositions registered for.*?(aten[\w.]+)", r"ONNX has no translation of the torch operation \1"),
    (
        r"Got invalid dimensions for input: (\S+) .*?index: (\d+) Got: (\d+) Expected: (\d+)",
        r"dimension \2 of input \1 is fixed to \4 in the graph, \3 was fed",
    ),
    (r"Attempting to broadcast .*? (\d+) by (\d+)", r"a size inside the graph is fixed: \1 meets \2"),
    (r"Required inputs \((.*?)\) are missing", r"the graph asks for inputs the model does not name: \1"),
    ("bad_alloc|can't allocate memory|MemoryError|not enough memory", "more memory than the limit"),
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
    """The deepest cause in one line, with the line of the model's code where there is one."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    everything = "\n".join(str(one) for one in chain)
    place = next((found for one in reversed(chain) if (found := _place(one))), "")
    for pattern, meaning in _MEANINGS:
        match = re.search(pattern, everything, re.DOTALL)
        if match:
            return match.expand(meaning) + place
    lines = [line.strip() for line in str(chain[-1]).splitlines() if line.strip()]
    first = re.sub(r"\x1b\[[0-9;]*m", "", lines[0])[:200] if lines else ""
    return f"{type(chain[-1]).__name__}{f': {first}' if first else ''}{place}"


def _place(error: BaseException) -> str:
    """The deepest line of a model's own code in the traceback."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "modeling_" in frame.filename:
            return f" ({frame.filename.rsplit('/', 1)[-1]}, {frame.name})"
    return ""
