"""Olive: its own command line from the checkpoint to dynamic int8, with the transformer optimizations it offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from protocol import Loaded, Request, Worker, serve
from run_onnxruntime import session

# Olive's documented steps for a BERT on a CPU: capture, fuse as ONNX Runtime's optimizer does, quantize dynamically.
PASSES = {
    "capture": {"type": "OnnxConversion", "target_opset": 20},
    "fuse": {"type": "OrtTransformersOptimization"},
    "quantize": {"type": "OnnxDynamicQuantization"},
}


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``olive run`` with those steps and their defaults."""
    model, folder = request["model"], Path(request["folder"])
    config = {
        "input_model": {"type": "HfModel", "model_path": model["checkpoint"], "task": model["task"]},
        "passes": PASSES,
        "output_dir": str(folder / "output"),
        "cache_dir": str(folder / "cache"),
        "log_severity_level": 2,
    }
    path = folder / "olive.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    olive = Path(sys.executable).with_name("olive")
    command = [str(olive), "run", "--config", str(path)]
    done = subprocess.run(
        command, check=False, stderr=subprocess.PIPE, text=True, env=os.environ | {"OLIVE_DISABLE_TELEMETRY": "1"}
    )
    if done.returncode:
        raise RuntimeError(f"`olive run`: {done.stderr.strip().rpartition(chr(10))[2]}")
    made = _model(folder)
    return [made, *made.parent.glob("*.data")], []


def load(request: Request) -> Loaded:
    """Its file in a bare session."""
    return session(_model(Path(request["folder"])), request["threads"])


def _model(folder: Path) -> Path:
    found = sorted((folder / "output").rglob("*.onnx"))
    if len(found) != 1:
        raise FileNotFoundError(f"Olive left {len(found)} ONNX files")
    return found[0]


if __name__ == "__main__":
    serve(Worker(build=build, load=load))
