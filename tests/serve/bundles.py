"""A bundle of a few kilobytes for every task, and how each is asked over HTTP."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
from onnx import helper
from PIL import Image

from edgekit.bundle.writing import write_manifests
from edgekit.runtime import load
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Component, Tensor
from edgekit.spec.settings.audio import AudioSettings, CtcSettings, WaveformFeatures
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.text import TextSettings

# ruff: noqa: TID252 - tests are no installed package
from ..unit import test_text_models as text
from ..unit import test_vision as vision
from ..unit.small_tokenizer import wordpiece_json
from ..unit.test_wav import wav
from ..unit.tiny_generator import write_generator, write_seq2seq
from ..unit.tiny_model import FOLDER, write_tiny_model

RATE = 16000
TEXT_TASKS = tuple(text.TASKS)


def write_all(folder: Path) -> dict[str, Path]:
    """Bundles by the name that they are served under."""
    made = {task: _text(folder / task, task) for task in TEXT_TASKS}
    made["feature-extraction"] = write_tiny_model(folder / "feature-extraction")
    generator = write_generator(folder / "text-generation", chat_template="text/chat.jinja")
    made["text-generation"] = _with_golden(generator)
    made["text2text-generation"] = _with_golden(write_seq2seq(folder / "text2text-generation"))
    made["image-classification"] = vision.write_classifier(folder / "image-classification")
    made["image-feature-extraction"] = vision.write_embedder(folder / "image-feature-extraction", pooled=True)
    made["zero-shot-image-classification"] = vision.write_pairs(folder / "zero-shot-image-classification")
    made["audio-classification"] = _audio(folder / "audio-classification", "audio-classification")
    made["automatic-speech-recognition"] = _audio(folder / "speech", "automatic-speech-recognition")
    return made


def image_file(height=9, width=7, seed=0) -> bytes:
    """A PNG of noise."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sound_file(samples=4000, seed=0) -> bytes:
    """A WAV file of noise."""
    return wav(np.random.default_rng(seed).integers(-9999, 9999, (samples, 1)), 2, RATE)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _with_golden(folder):
    path, asked = folder / "golden/cases.json", {"text": "w3 w4 w5"}
    with load(folder) as opened:
        task = opened.manifest.task
        path.write_bytes(write_golden(task, [Golden(asked, opened.raw([asked])[0])]))
        write_manifests(folder, dataclasses.replace(opened.manifest, name=task, files=()))
    return folder


def _text(folder, task):
    width, per_token, sections = text.TASKS[task]
    model, component = text.graph_bytes(width, per_token=per_token)
    asked = text.GOLDEN.get(task, {"text": "the cat sat"})
    settings = TextSettings("text/tokenizer.json", text.MAX_LENGTH, 0, 0)
    changes = {
        "name": task,
        "task": task,
        "components": {"model": component},
        "settings": {section.key: section for section in (settings, *sections)},
    }
    files = {f"{FOLDER}/model.onnx": model, "text/tokenizer.json": wordpiece_json()}
    write_tiny_model(folder, files=files, **changes)
    with load(folder) as opened:  # its own answer is the golden one
        golden = write_golden(task, [Golden(asked, opened.raw([asked])[0])])
    return write_tiny_model(folder, files=files | {"golden/cases.json": golden}, **changes)


def _audio(folder, task):
    """Loudness, weighted: of the whole clip, or of each frame."""
    speech = task == "automatic-speech-recognition"
    labels = ("<pad>", "|", "a", "b") if speech else ("quiet", "loud", "shrill")
    clip = Tensor("input_values", "float32", ("batch", "samples"))
    shape = ("batch", "frames", len(labels)) if speech else ("batch", len(labels))
    nodes = [helper.make_node("Abs", ["input_values"], ["loud"])]
    if speech:
        nodes += [
            helper.make_node("Unsqueeze", ["loud", "axis"], ["channel"]),
            helper.make_node("AveragePool", ["channel"], ["frames"], kernel_shape=[400], strides=[320]),
            helper.make_node("Transpose", ["frames"], ["mean"], perm=[0, 2, 1]),
        ]
    else:
        nodes += [helper.make_node("ReduceMean", ["loud", "axis"], ["mean"], keepdims=1)]
    nodes += [
        helper.make_node("MatMul", ["mean", "head"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    random = np.random.default_rng(5)
    head, bias = (
        random.normal(size=(1, len(labels))).astype(np.float32),
        random.normal(size=len(labels)).astype(np.float32),
    )
    outputs = (Tensor("logits", "float32", shape),)
    audio = AudioSettings("input_values", RATE, 400, 10 * RATE, WaveformFeatures(normalize=False))
    section = (
        CtcSettings("logits", 320, labels, "<pad>", "|", " ", lower_case=False, clean_up=False)
        if speech
        else LabelSettings("logits", labels, "softmax")
    )
    changes = {
        "name": task,
        "task": task,
        "components": {"model": Component((clip,), outputs)},
        "settings": {"audio": audio, section.key: section},
    }
    model = vision.graph(nodes, (clip,), outputs, {"axis": np.array([1]), "head": head, "bias": bias})
    files = {f"{FOLDER}/model.onnx": model}
    sound = random.normal(0, 0.1, 3000).astype(np.float32)
    write_tiny_model(folder, files=files, **changes)
    with load(folder) as opened:
        golden = write_golden(task, [Golden({"audio": sound}, opened.raw([{"audio": sound}])[0])])
    return write_tiny_model(folder, files=files | {"golden/cases.json": golden}, **changes)
