"""Checkpoints that are pickles: converted to safetensors in a child process, when the user asked for it.

``torch.load(weights_only=True)`` is used there too; the child keeps what slips through it away from
the process that holds the user's tokens and writes the bundle.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from edgekit.errors import CheckpointError
from edgekit.stages.fetch import PICKLES

_TIMEOUT_S = 600


def without_pickles(folder: Path, work: Path) -> Path:
    """The folder itself, or a copy under ``work`` whose weights have been converted.

    Raises:
        CheckpointError: The pickle holds anything but tensors, or cannot be read.
    """
    if any(folder.glob("*.safetensors")):
        return folder
    copy = work / "checkpoint"
    for file in folder.rglob("*"):  # copytree would wrap a full disk's error, without its number
        if file.is_file() and file.suffix not in PICKLES:
            (copy / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy / file.relative_to(folder))
    command = [sys.executable, "-I", "-c", _CHILD, str(folder.resolve()), str(copy / "model.safetensors")]
    result = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        raise CheckpointError(
            f"{folder}: its pickle cannot be converted: {last[0]}",
            hint="save the model again with save_pretrained, which writes safetensors",
        )
    return copy


_CHILD = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
state = {}
for path in sorted(Path(sys.argv[1]).glob("*.bin")):
    state.update(torch.load(path, map_location="cpu", weights_only=True))
if not state:
    sys.exit("no *.bin file of tensors was found")
save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, sys.argv[2], metadata={"format": "pt"})
"""
