"""A real bundle of a few kilobytes: a tokenizer of 60 words and a graph that looks vectors up.

Its answers can be recomputed in two lines of numpy. The table lies in external data, and the graph scales it by a
constant, so that ONNX Runtime's optimizer has a reason to read it.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgekit.bundle.writing import write_manifests
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Component, Manifest, Source, Tensor, Variant
from edgekit.spec.settings.embedding import EmbeddingSettings
from edgekit.spec.settings.text import TextSettings
from edgekit.spec.target import Target

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{number}" for number in range(60)))
DIMENSION = 8
MAX_LENGTH = 16
TABLE = np.random.default_rng(7).normal(size=(64, DIMENSION)).astype(np.float32)
GOLDEN_TEXTS = ("word1 word2 word3", "word4", "word5 word6 word7 word8 word9")
FOLDER = "model/plain"


def expected(text, *, pooling="mean", normalize=True):
    """What the bundle answers, computed without it."""
    words = [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in text.split()]
    ids = [2, *words[: MAX_LENGTH - 2], 3]
    states = 2 * TABLE[ids]
    vector = states.mean(axis=0) if pooling == "mean" else states[0]
    return vector / np.linalg.norm(vector) if normalize else vector


def tokenizer_json(vocabulary=VOCABULARY):
    ids = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [("[CLS]", vocabulary.index("[CLS]")), ("[SEP]", vocabulary.index("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.enable_truncation(4)  # both stand in real files, and the manifest overrules them
    tokenizer.enable_padding(length=9)
    return tokenizer.to_str().encode()


def model_bytes(*, location="model.onnx.data", extra_nodes=()):
    table = external("table", TensorProto.FLOAT, TABLE.shape, location=location, length=TABLE.nbytes)
    nodes = [
        helper.make_node("Mul", ["table", "two"], ["scaled"]),
        helper.make_node("Gather", ["scaled", "input_ids"], ["looked_up"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["looked_up", "column"], ["last_hidden_state"]),
        *extra_nodes,
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", DIMENSION])
    constants = [
        helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
    ]
    graph = helper.make_graph(nodes, "tiny", ids, [states], [table, *constants])
    return onnx_model(graph)


def onnx_model(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def external(name, data_type, dims, *, location="model.onnx.data", offset=0, length=None):
    tensor = TensorProto(name=name, data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": str(offset)} | ({} if length is None else {"length": str(length)})
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def plain_variant(**changes):
    fields = {
        "name": "plain",
        "recipe": "fp32",
        "precision": "float32",
        "folder": FOLDER,
        "graphs": {"model": "model.onnx"},
        "targets": ("x86_64-avx2", "arm64-neon"),
        "runs_anywhere": True,
        "session_options": {"optimization.disable_specified_optimizers": "SkipLayerNormFusion"},
        "opset": 21,
        "parity": "pass",
        "self_test_min": 0.9999,
    }
    return Variant(**(fields | changes))


def target(name, architecture, *features, rank=10):
    return Target(name, f"for tests: {name}", architecture, features, "CPUExecutionProvider", rank)


def tiny_manifest(**changes):
    int64 = [Tensor(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")]
    fields = {
        "name": "tiny",
        "version": "1",
        "release": 1,
        "task": "feature-extraction",
        "source": Source("tiny", "1", "apache-2.0", "BertModel", "0" * 64),
        "generator": {"edgekit": "0.1.0"},
        "onnxruntime": ">=1.24,<2",
        "components": {
            "model": Component(
                tuple(int64), (Tensor("last_hidden_state", "float32", ("batch", "sequence", DIMENSION)),)
            )
        },
        "settings": tiny_settings(),
        "golden": "golden/cases.json",
        "targets": {
            "x86_64-avx2": target("x86_64-avx2", "x86_64", "avx2", "fma"),
            "arm64-neon": target("arm64-neon", "arm64", "asimd"),
        },
        "variants": (plain_variant(),),
        "files": (),
    }
    return Manifest(**(fields | changes))


def tiny_settings(text=None, embedding=None):
    return {
        "text": text or TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0),
        "embedding": embedding or EmbeddingSettings("last_hidden_state", "mean", True, DIMENSION),
    }


def write_tiny_model(folder: Path, *, files=None, **changes) -> Path:
    """Write the bundle; ``files`` replaces contents by path, ``changes`` fields of the manifest."""
    content = {
        f"{FOLDER}/model.onnx": model_bytes(),
        f"{FOLDER}/model.onnx.data": TABLE.tobytes(),
        "text/tokenizer.json": tokenizer_json(),
        "golden/cases.json": write_golden(
            "feature-extraction", [Golden({"text": text}, {"embedding": expected(text)}) for text in GOLDEN_TEXTS]
        ),
    } | (files or {})
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    write_manifests(folder, tiny_manifest(**changes))
    return folder
