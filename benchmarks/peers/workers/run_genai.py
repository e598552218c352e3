"""onnxruntime-genai: its own model builder's int4 with the builder's defaults, and its own loop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protocol import Request, Worker, serve


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``python -m onnxruntime_genai.models.builder -p int4 -e cpu``."""
    folder = Path(request["folder"])
    checkpoint = request["model"]["checkpoint"]
    module = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    where = ["-o", str(folder / "model"), "-c", str(folder / "cache")]
    subprocess.run([*module, "-m", checkpoint, "-i", checkpoint, "-p", "int4", "-e", "cpu", *where], check=True)
    return [folder / "model"], []


def generator(request: Request) -> Any:
    """Greedy; its provider options are the model's own but for the number of threads."""
    import json

    import numpy as np
    import onnxruntime_genai

    folder = Path(request["folder"]) / "model"
    # Threads are the model's to say: session options of genai_config.json.
    config = onnxruntime_genai.Config(str(folder))
    threads = {"intra_op_num_threads": request["threads"]}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": threads}}}))
    model = onnxruntime_genai.Model(config)

    def generate(prompt: Sequence[int], new: int) -> Iterator[Any]:
        total = len(prompt) + new
        search = onnxruntime_genai.GeneratorParams(model)
        search.set_search_options(max_length=total, min_length=total, do_sample=False)
        running = onnxruntime_genai.Generator(model, search)
        running.append_tokens(np.array([prompt], dtype=np.int32))
        for _ in range(new):
            running.generate_next_token()
            yield running.get_next_tokens()[0]

    return generate


if __name__ == "__main__":
    serve(Worker(build=build, generator=generator))
