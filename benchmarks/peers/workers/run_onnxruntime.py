"""Plain ONNX Runtime: the float32 export as it is, or with its own dynamic int8; opened with its own defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

from protocol import Loaded, Request, Worker, inputs_of, serve


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``int8``: ``quantize_dynamic``, per channel, symmetric: the most accurate setting of its own tool."""
    source, folder = Path(request["source"]), Path(request["folder"])
    if request["artefact"] == "float32":
        for file in source.parent.iterdir():
            shutil.copyfile(file, folder / file.name)
        return [folder / source.name, *folder.glob("*.data")], []
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: TID251 - this is the peer

    model = onnx.load(source)
    # It refuses a graph whose value_info also names initializers, as torch's exporter writes it.
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in constants]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    quantize_dynamic(model, str(folder / "model.onnx"), per_channel=True, weight_type=QuantType.QInt8)
    return [folder / "model.onnx"], []


def load(request: Request) -> Loaded:
    """A session on the artefact."""
    return session(Path(request["folder"]) / "model.onnx", request["threads"])


def session(path: Path, threads: int) -> Loaded:
    """A session with ONNX Runtime's defaults: idle threads spin."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in opened.get_inputs()]

    def feeds(ids: object) -> dict[str, object]:
        made = inputs_of(ids)
        return {name: made[name] for name in names}

    return Loaded(feeds, lambda fed: opened.run(None, fed), lambda outputs: outputs[0])


if __name__ == "__main__":
    serve(Worker(build=build, load=load))
