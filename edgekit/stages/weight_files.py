"""Which files of a checkpoint's folder are its weights."""

from __future__ import annotations

from pathlib import Path


def safetensors(folder: Path) -> list[Path]:
    """Its safetensors, in order of name; a pipe or a folder of such a name is none."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())
