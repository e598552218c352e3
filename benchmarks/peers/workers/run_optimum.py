"""optimum-onnx: its own export and its own int8 presets, made by its command line; a start through its own classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from protocol import Loaded, Request, Worker, serve
from run_onnxruntime import session

CLASSES = {
    # ORTModelForFeatureExtraction fails on what its own export calls the outputs of MiniLM.
    "feature-extraction": "ORTModelForCustomTasks",
    "text-classification": "ORTModelForSequenceClassification",
    "token-classification": "ORTModelForTokenClassification",
}
FILE = "model_quantized.onnx"


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``optimum-cli export onnx``, then ``optimum-cli onnxruntime quantize``; the artefact names the preset."""
    model, folder = request["model"], Path(request["folder"])
    cli = Path(sys.executable).with_name("optimum-cli")
    if request["artefact"] == "exported":
        _run([cli, "export", "onnx", "-m", model["checkpoint"], "--task", model["task"], folder])
        return [folder / "model.onnx"], []
    exported = Path(request["source"]).parent
    _run([cli, "onnxruntime", "quantize", "--onnx_model", exported, f"--{request['artefact']}", "-o", folder])
    return [folder / FILE, Path(model["checkpoint"]) / "tokenizer.json"], []


def load(request: Request) -> Loaded:
    """Its file in a bare session: optimum's own classes add to that."""
    return session(Path(request["folder"]) / FILE, request["threads"])


def first_answer(request: Request) -> Any:
    """As its users start: its model class and transformers' tokenizer."""
    import optimum.onnxruntime
    from transformers import PreTrainedTokenizerFast

    folder = request["folder"]
    kind = getattr(optimum.onnxruntime, CLASSES[request["model"]["task"]])
    # By its class: checkpoints of transformers 5 name one that optimum's transformers 4 does not know.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(request["model"]["checkpoint"])
    model = kind.from_pretrained(folder, file_name=FILE)
    wanted = [node.name for node in model.session.get_inputs()]
    fed = tokenizer(request["text"], return_tensors="pt")
    return model(**{name: value for name, value in fed.items() if name in wanted})


def _run(command: list[object]) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    serve(Worker(build=build, load=load, first_answer=first_answer))
