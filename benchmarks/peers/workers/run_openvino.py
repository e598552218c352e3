"""OpenVINO: the original converted by its own converter, in float32, with a bfloat16 hint, or quantized by NNCF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol import Loaded, Request, Worker, inputs_of, serve
from run_transformers import original

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``float32``: OpenVINO's own converter on the module. ``int8``: NNCF's post-training quantization of that.

    Not from transformers' ONNX export: NNCF quantizes that one's mask, and MiniLM's cosine falls to 0.41.
    """
    import openvino
    import torch

    sample = {"input_ids": torch.randint(10, 100, (2, 7)), "attention_mask": torch.ones((2, 7), dtype=torch.int64)}
    model = openvino.convert_model(original(request), example_input=sample)
    if request["artefact"] == "int8":
        import nncf

        texts = json.loads(Path(request["model"]["calibration"]).read_text(encoding="utf-8"))
        names = [port.get_any_name() for port in model.inputs]
        data = nncf.Dataset(texts, lambda ids: _named(ids, names))
        model = nncf.quantize(
            model,
            data,
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(texts),
        )
    path = Path(request["folder"]) / "model.xml"
    openvino.save_model(model, str(path), compress_to_fp16=False)
    return [path, path.with_suffix(".bin")], []


def load(request: Request) -> Loaded:
    """Compiled for latency, as one caller asks."""
    import openvino

    core = openvino.Core()
    precision = request["options"]["precision"]
    settings = {
        "INFERENCE_NUM_THREADS": request["threads"],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[precision],
    }
    compiled = core.compile_model(str(Path(request["folder"]) / "model.xml"), "CPU", settings)
    names = [port.get_any_name() for port in compiled.inputs]
    asked = compiled.create_infer_request()
    notes = []
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        ran = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        notes.append(f"this CPU has no bfloat16 ({', '.join(able)}): OpenVINO ran it in {ran}")

    def feeds(ids: Any) -> dict[str, Any]:
        made = inputs_of(ids)
        return {name: made[name] for name in names}

    return Loaded(feeds, asked.infer, lambda outputs: outputs[0].copy(), tuple(notes))


def _named(ids: list[int], names: list[str]) -> dict[str, Any]:
    import numpy as np

    made = inputs_of(np.array([ids], dtype=np.int64))
    return {name: made[name] for name in names}


if __name__ == "__main__":
    serve(Worker(build=build, load=load))
