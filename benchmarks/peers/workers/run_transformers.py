"""The original in torch, eager or compiled; and its export for those who start from an ONNX file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from protocol import Loaded, Request, Worker, inputs_of, serve

CLASSES = {
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
}


def original(request: Request) -> Any:
    """The checkpoint as a module, float32, in evaluation mode."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    kind = getattr(transformers, CLASSES[request["model"]["task"]])
    return kind.from_pretrained(request["model"]["checkpoint"], dtype=torch.float32).eval()


def build(request: Request) -> tuple[list[Path], list[str]]:
    """Nothing for torch: its weights ship as they are. ``onnx``: transformers' own exporter, float32."""
    checkpoint, folder = Path(request["model"]["checkpoint"]), Path(request["folder"])
    if request["artefact"] == "checkpoint":
        return [checkpoint / "model.safetensors", checkpoint / "config.json", checkpoint / "tokenizer.json"], []
    import torch
    from transformers.exporters import OnnxConfig, OnnxExporter

    model = original(request)
    # No token types: for single texts they are zeros, which the exporter then makes part of the graph.
    sample = {"input_ids": torch.randint(10, 100, (2, 7)), "attention_mask": torch.ones((2, 7), dtype=torch.int64)}
    exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic=True))
    exported.save_pretrained(str(folder))
    return [folder / "model.onnx", *folder.glob("*.data")], []


def load(request: Request) -> Loaded:
    """Eager or compiled for each shape, or for all where shapes are many."""
    import torch

    torch.set_num_threads(request["threads"])
    model = original(request)
    known = inspect.signature(model.forward).parameters
    if request["options"].get("compile"):
        # A graph for each shape is the faster one; one for all is compiled once.
        model = torch.compile(model, dynamic=request["command"] != "time")

    def run(feeds: Any) -> Any:
        with torch.inference_mode():
            return model(**feeds)

    def feeds(ids: Any) -> Any:
        return {name: torch.from_numpy(array) for name, array in inputs_of(ids).items() if name in known}

    return Loaded(feeds, run, lambda output: output[0].numpy())


if __name__ == "__main__":
    serve(Worker(build=build, load=load))
