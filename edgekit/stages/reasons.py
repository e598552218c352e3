"""Why something cannot be exported, in plain words: the exporter's own are a page of another project's insides."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from typing import Final

_ELSE: Final = "run again with --debug for its traceback"
_LIMIT: Final = 200  # characters of a message that nobody has put into words yet


@dataclass(frozen=True, slots=True)
class Reason:
    """What stopped an export.

    Attributes:
        text: Why, with the function of the model's code where it happened, if it is known.
        hint: What to do.
    """

    text: str
    hint: str


# What the messages hold -> what it means, what to do. First match wins.
_MEANINGS: Final = (
    (r"requires the (\w+) library", r"it needs the package \1", r"pip install \1, if edgekit shall run it"),
    ("requires an NVIDIA|No CUDA|flash_attn", "it needs a GPU kernel", "choose a model that runs on a CPU"),
    (
        "Unrecognized configuration class",
        "transformers has no class of this architecture for the task",
        "choose a task the architecture has, with --task",
    ),
    (
        "Could not guard on|GuardOnDataDependent|data-dependent expression|Could not extract specialized integer",
        "a branch or a size depends on the values of a tensor, which a graph cannot hold",
        "docs/architectures.md lists architectures that export; this needs a change in transformers",
    ),
    (
        "Constraints violated|was specialized",
        "its code fixes a size that must be free",
        "docs/architectures.md lists architectures that export; this needs a change in transformers",
    ),
    (
        r"No ONNX function found for.*?op='([^']+)'",
        r"ONNX has no translation of the torch operation \1",
        "docs/architectures.md lists architectures that export; this needs a change in onnxscript",
    ),
    (
        r"No decompositions registered for.*?(aten[\w.]+)",
        r"ONNX has no translation of the torch operation \1",
        "docs/architectures.md lists architectures that export; this needs a change in onnxscript",
    ),
    (
        "bad_alloc|can't allocate memory|MemoryError|not enough memory",
        "there is not enough memory",
        "export on a machine with more memory: about four times the checkpoint's size in float32",
    ),
)


def why(error: BaseException) -> Reason:
    """The reason behind an exception of torch, transformers or onnxscript, from its whole chain of causes."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    everything = "\n".join(f"{type(one).__name__}: {one}" for one in chain)
    place = next((found for one in reversed(chain) if (found := _place(one))), "")
    for pattern, meaning, hint in _MEANINGS:
        match = re.search(pattern, everything, re.DOTALL)
        if match:
            return Reason(match.expand(meaning) + place, match.expand(hint))
    return Reason(_first_line(chain[-1]) + place, _ELSE)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}{f': {lines[0][:_LIMIT]}' if lines else ''}"


def _place(error: BaseException) -> str:
    """The deepest function of a model's own code in the traceback."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename.replace("\\", "/").rsplit("/", 1)[-1]
        if file.startswith("modeling_") and not frame.name.startswith("<"):  # a comprehension's name tells nothing
            return f" (in {frame.name} of {file})"
    return ""
