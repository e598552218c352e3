"""What `pip install edgekit` brings to a device, and `edgekit[ui]` to a demo: names and sizes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

FORBIDDEN = {"torch", "transformers", "onnx", "optimum", "sentence-transformers"}

# Runs in the new environment. RECORD also lists the bytecode that pip compiled.
LIST = """
import importlib.metadata as metadata, json
sizes = {}
for distribution in metadata.distributions():
    files = [path.locate() for path in distribution.files or ()]
    sizes[distribution.name.lower()] = [distribution.version, sum(f.stat().st_size for f in files if f.is_file())]
print(json.dumps(sizes))
"""


def measure(root: Path, extra: str = "", *, bytecode: bool = True) -> dict[str, Any]:
    """Install edgekit into a new environment and list what is there.

    Args:
        root: The project's folder.
        extra: One of its extras; none where empty.
        bytecode: Whether pip compiles, as it does unless an image's recipe says otherwise.

    Raises:
        SystemExit: A package of the build side came along.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        flags = shlex.split(os.environ.get("PIP_FLAGS", ""))
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *flags]
        pip += [] if bytecode else ["--no-compile"]
        subprocess.run([*pip, f"{root}[{extra}]" if extra else str(root)], check=True)
        listed = subprocess.run([str(python), "-c", LIST], check=True, capture_output=True, text=True).stdout
    packages = {name: facts for name, facts in json.loads(listed).items() if name not in {"pip", "setuptools"}}
    intruders = FORBIDDEN & set(packages)
    if intruders:
        sys.exit(f"a device install brought {', '.join(sorted(intruders))}")
    return {
        "packages": {name: {"version": v, "mb": round(size / 1e6, 1)} for name, (v, size) in sorted(packages.items())},
        "total_mb": round(sum(size for _, size in packages.values()) / 1e6, 1),
    }


def render(result: dict[str, Any], title: str = "Device install: pip install edgekit (no torch)") -> str:
    """A table, the largest first."""
    packages = sorted(result["packages"].items(), key=lambda item: -item[1]["mb"])
    lines = [f"  {name:24}{facts['version']:>12}{facts['mb']:>8.1f} MB" for name, facts in packages]
    total = f"  {'all':24}{'':>12}{result['total_mb']:>8.1f} MB"
    return "\n".join([f"\n{title}", *lines, total])
