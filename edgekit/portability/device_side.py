"""A copy of the device side of edgekit alone, for environments that must not see this machine's packages."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import Final

PARTS: Final = ("__init__.py", "errors.py", "spec", "bundle", "runtime")
SCRIPT: Final = "inside.py"


def stage(folder: Path) -> Path:
    """Copy the device side, and the script that uses it, into an empty folder.

    Returns:
        The script; ``folder`` is what goes on ``PYTHONPATH``.
    """
    package = Path(str(resources.files("edgekit")))
    for name in PARTS:
        source, copy = package / name, folder / "edgekit" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy)
    shutil.copyfile(package / "portability" / SCRIPT, folder / SCRIPT)
    return folder / SCRIPT
