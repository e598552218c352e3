"""Checkpoints that are pickles: converted to safetensors in a child process, when the user asked for it.

``torch.load(weights_only=True)`` is used there too; the child keeps what slips through it away from
the process that holds the user's tokens and writes the bundle.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgekit.errors import CheckpointError
from edgekit.runtime import limited_child
from edgekit.runtime.limited_child import ChildError
from edgekit.stages import weight_files
from edgekit.stages.fetch import PICKLES

TIME_LIMIT_S: Final = 600.0
MEMORY_LIMIT_BYTES: Final = 4 << 30  # beside what the weights take


def without_pickles(folder: Path, work: Path) -> Path:
    """The folder itself, or a copy under ``work`` whose weights have been converted.

    Raises:
        CheckpointError: The pickle holds anything but tensors, or cannot be read.
    """
    if weight_files.safetensors(folder):
        return folder
    copy = work / "checkpoint"
    for file in folder.rglob("*"):  # copytree would wrap a full disk's error, without its number
        if file.is_file() and file.suffix not in PICKLES:
            (copy / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy / file.relative_to(folder))
    files = sorted(folder.glob("*.bin"))
    limit = MEMORY_LIMIT_BYTES + 4 * sum(path.stat().st_size for path in files)
    try:
        said = limited_child.ask(
            f"{__name__}:convert",
            [str(copy / "model.safetensors"), *(str(path.resolve()) for path in files)],
            time_limit_s=TIME_LIMIT_S,
            memory_limit_bytes=limit,
        )
    except ChildError as error:
        raise _refused(folder, f"a process that was to read it {error.how}") from error
    refused = json.loads(said)
    if refused:
        raise _refused(folder, refused)
    return copy


def convert(arguments: Sequence[str], write: Callable[[Any], None]) -> None:
    """What the child does; it tells why it could not, or nothing."""
    import torch
    from safetensors.torch import save_file

    target, *files = arguments
    state: dict[str, torch.Tensor] = {}
    try:
        for path in files:
            state.update(torch.load(path, map_location="cpu", weights_only=True))
        if state:
            whole = {name: tensor.clone().contiguous() for name, tensor in state.items()}
            save_file(whole, target, metadata={"format": "pt"})
        write("" if state else "no *.bin file of tensors was found")
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes of it is told
        write((str(error).strip().splitlines() or [type(error).__name__])[-1])


def _refused(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: its pickle cannot be converted: {why}",
        hint="save the model again with save_pretrained, which writes safetensors",
    )
