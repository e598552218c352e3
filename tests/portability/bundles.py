"""Tiny bundles with the faults that an environment is to find. Their answers are known exactly."""

import dataclasses

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgekit.runtime.golden import Golden, write_golden
from tests.unit.tiny_model import (
    DIMENSION,
    FOLDER,
    GOLDEN_TEXTS,
    MAX_LENGTH,
    VOCABULARY,
    plain_variant,
    target,
    write_tiny_model,
)

# All positive, so that activations lie in the upper half of uint8 and every pair of products has one sign.
POSITIVE = np.random.default_rng(11).uniform(0.5, 1.0, size=(64, DIMENSION)).astype(np.float32)
STEP = np.float32(0.01)


def weights(largest):
    """Half of the columns hold pairs that add up to twice ``largest``, in steps that make directions differ."""
    columns = np.random.default_rng(12).integers(largest // 4, largest // 2, size=(DIMENSION, DIMENSION))
    columns[:, ::2] = largest
    return columns.astype(np.int8)


def expected(text, matrix):
    """The embedding, in float64, of the float product that the int8 one stands for."""
    words = [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in text.split()]
    ids = [2, *words[: MAX_LENGTH - 2], 3]
    states = POSITIVE[ids].astype(np.float64) @ (matrix.astype(np.float64) * STEP)
    vector = states.mean(axis=0)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def int8_graph(matrix, *, opset=21):
    constants = {"table": POSITIVE, "w": matrix, "w_zero": np.int8(0), "w_scale": STEP, "one": np.array([-1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "one"], ["column"]),
        helper.make_node("Mul", ["found", "column"], ["kept"]),
        helper.make_node("DynamicQuantizeLinear", ["kept"], ["q", "q_scale", "q_zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "q_zero", "w_zero"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["q_scale", "w_scale"], ["step"]),
        helper.make_node("Mul", ["float", "step"], ["last_hidden_state"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", DIMENSION])
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [states], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10).SerializeToString()


def golden(matrix):
    cases = [Golden({"text": text}, {"embedding": expected(text, matrix)}) for text in GOLDEN_TEXTS]
    return write_golden("feature-extraction", cases)


def write_int8(folder, *, largest=127, targets=("x86_64-avx2",), **changes):
    """One int8 variant; ``largest`` 64 is the pair rule's, 127 the whole range of int8."""
    matrix = weights(largest)
    variant = plain_variant(precision="int8", targets=targets, self_test_min=0.99)
    files = {f"{FOLDER}/model.onnx": int8_graph(matrix), "golden/cases.json": golden(matrix)}
    return write_tiny_model(folder, files=files, **{"variants": (variant,), "targets": TARGETS} | changes)


def write_two(folder, *, swapped=False):
    """A pair-limited variant for AVX2 and one of the whole range for VNNI, or the other way round."""
    kinds = {"limited": (64, "x86_64-avx2"), "whole": (127, "x86_64-avx512-vnni")}
    if swapped:
        kinds = {"limited": (64, "x86_64-avx512-vnni"), "whole": (127, "x86_64-avx2")}
    variants, files = [], {"golden/cases.json": golden(weights(127))}
    for name, (largest, served) in kinds.items():
        one = plain_variant(name=name, precision="int8", folder=f"model/{name}", targets=(served,), self_test_min=0.95)
        variants.append(dataclasses.replace(one, runs_anywhere=name == "limited"))
        files[f"model/{name}/model.onnx"] = int8_graph(weights(largest))
    return write_tiny_model(folder, files=files, variants=tuple(variants), targets=TARGETS)


VNNI = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")
TARGETS = {
    "x86_64-avx2": target("x86_64-avx2", "x86_64", "avx2", "fma"),
    "arm64-neon": target("arm64-neon", "arm64", "asimd"),
    "x86_64-avx512-vnni": target("x86_64-avx512-vnni", "x86_64", *VNNI, rank=20),
}
