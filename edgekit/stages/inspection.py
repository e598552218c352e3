"""Inspection: what parses a stranger's files meets them first in a child process with limits.

Weights and tokenizers are read by native libraries, and a file can be made to crash them, to keep them busy for ever or
to fill the memory. A checkpoint on which that happens is refused before this process, which holds the user's tokens and
writes the bundle, opens it. What they merely refuse is left to where it is used: the message there says more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgekit.errors import CheckpointError
from edgekit.runtime import limited_child
from edgekit.runtime.limited_child import ChildError
from edgekit.stages import weight_files

TIME_LIMIT_S: Final = 120.0
MEMORY_LIMIT_BYTES: Final = 4 << 30  # weights are mapped and do not count
LAYERS_MAX: Final = 1000  # no matter how few tensors there are: some models share one layer's among all
TOKENIZER: Final = "tokenizer.json"
_SAMPLE: Final = "The quick brown fox, 12 of them; naïve café, 東京 🙂 " * 20


def inspect(folder: Path, config: Mapping[str, Any]) -> None:
    """Parse a checkpoint's files in a child process.

    Args:
        folder: The checkpoint's.
        config: The content of its ``config.json``.

    Raises:
        CheckpointError: A file crashes its parser or takes more time or memory than any good one, or the configuration
            asks for far more layers than there are weights.
    """
    try:
        said = limited_child.ask(
            f"{__name__}:parse",
            [str(folder)],
            time_limit_s=TIME_LIMIT_S,
            memory_limit_bytes=MEMORY_LIMIT_BYTES,
        )
    except ChildError as error:
        (*_, last) = [json.loads(line) for line in error.said.splitlines() if line.endswith(b"}")] or [{}]
        where = folder / str(last["file"]) if "file" in last else folder
        raise CheckpointError(
            f"{where}: a process that was to read it {error.how}",
            hint="the file is damaged, or made to do that: get the checkpoint again, from where you trust it",
        ) from error
    tensors = json.loads(said.splitlines()[-1])["tensors"]
    for key, value in _numbers(config):
        if "layer" in key and value > max(tensors, LAYERS_MAX):
            raise CheckpointError(
                f"{folder / 'config.json'}: {key} is {value}, and the weights are {tensors} tensors",
                hint="config.json and weights are not of one model: get the checkpoint again",
            )


def parse(arguments: Sequence[str], write: Callable[[Any], None]) -> None:
    """What the child does: name each file, parse it, and in the end tell how many tensors there are."""
    from safetensors import SafetensorError, safe_open
    from tokenizers import Tokenizer

    folder = Path(arguments[0])
    tensors = 0
    for path in weight_files.safetensors(folder):
        write({"file": path.name})
        try:
            with safe_open(path, framework="numpy") as opened:
                tensors += len(list(opened.keys()))
        except (SafetensorError, OSError):
            continue
    if (folder / TOKENIZER).is_file():
        write({"file": TOKENIZER})
        try:
            Tokenizer.from_file(str(folder / TOKENIZER)).encode(_SAMPLE)
        except Exception as error:  # noqa: BLE001 - tokenizers has no class of its own for what it refuses
            write({"refused": str(error)[:200]})
    write({"tensors": tensors})


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Integers of a configuration, those of inner ones too, with the key they stand under."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, key)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield key, value
