"""A decoder of a few nodes whose next token can be worked out by hand.

The next token is (the sum of the row's tokens so far + the last position) modulo the vocabulary, and with an encoder
also + the sum of the row's attended encoder states. The cache holds the tokens, so a wrong cache, mask or
position gives another token. Keys are the tokens, values their squares, and both are read.
"""

import onnxruntime
from onnx import TensorProto, helper

from edgekit.runtime.session import Session
from edgekit.spec.manifest import Tensor

from .tiny_model import onnx_model

VOCABULARY = 16
_TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


def expected(prompt, count, *, encoder=0):
    """The next ``count`` tokens."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append((sum(tokens) + len(tokens) - 1 + encoder) % VOCABULARY)
    return tokens[len(prompt) :]


def tiny_decoder(*, encoder=False, cache="float32", kept=False):
    """(prefill, decode) sessions; ``kept``: prefill gives logits only at ``logit_positions``."""
    return tuple(
        _session(*component(name, encoder=encoder, cache=cache, kept=kept and name == "prefill"))
        for name in ("prefill", "decode")
    )


def tiny_encoder():
    """(graph, inputs, outputs): states (batch, source, 1) that are the token ids themselves."""
    inputs = [Tensor(name, "int64", ("batch", "encoder_sequence")) for name in ("input_ids", "attention_mask")]
    outputs = [Tensor("encoder_hidden_states", "float32", ("batch", "encoder_sequence", 1))]
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["own"]),
        helper.make_node("Unsqueeze", ["own", "last_axis"], ["column"]),
        helper.make_node("Cast", ["column"], ["encoder_hidden_states"], to=TensorProto.FLOAT),
    ]
    return _graph(nodes, inputs, outputs, [helper.make_tensor("last_axis", TensorProto.INT64, [1], [2])])


def _graph(nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "tiny", [_info(t) for t in inputs], [_info(t) for t in outputs], constants)
    return onnx_model(graph), tuple(inputs), tuple(outputs)


def _session(graph, inputs, outputs):
    return Session(onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]), inputs, outputs, [])


def component(name, *, encoder=False, cache="float32", kept=False):
    """(graph, inputs, outputs) of ``prefill`` or ``decode``."""
    decode = name == "decode"
    width = 1 if decode else "sequence"
    total = "total" if decode else "sequence"
    inputs = [
        Tensor("input_ids", "int64", ("batch", width)),
        Tensor("attention_mask", "int64", ("batch", total)),
        Tensor("position_ids", "int64", ("batch", width)),
    ]
    outputs = [
        Tensor("logits", "float32", ("batch", "kept" if kept else width, VOCABULARY)),
        Tensor("present.0.key", cache, ("batch", 1, total, 1)),
        Tensor("present.0.value", cache, ("batch", 1, total, 1)),
    ]
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=_TYPES[cache]),
        helper.make_node("Unsqueeze", ["ids", "head_axis"], ["ids_heads"]),
        helper.make_node("Unsqueeze", ["ids_heads", "last_axis"], ["new.0.key"]),
        helper.make_node("Concat", (["past.0.key"] if decode else []) + ["new.0.key"], ["present.0.key"], axis=2),
        helper.make_node("Mul", ["new.0.key", "new.0.key"], ["new.0.value"]),
        helper.make_node("Concat", (["past.0.value"] if decode else []) + ["new.0.value"], ["present.0.value"], axis=2),
        helper.make_node("Sqrt", ["present.0.value"], ["roots"]),
        helper.make_node("Add", ["present.0.key", "roots"], ["both"]),
        helper.make_node("Cast", ["both"], ["twice"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["twice", "half"], ["wide"]),
        helper.make_node("Squeeze", ["wide", "both_axes"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["tokens", "mask"], ["own"]),
        helper.make_node("CumSum", ["own", "one"], ["sums_all"]),
        *([helper.make_node("Slice", ["sums_all", "minus", "huge", "ones"], ["sums"])] if decode else []),
        helper.make_node("Cast", ["position_ids"], ["positions"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["sums" if decode else "sums_all", "positions"], ["with_positions"]),
    ]
    last = "with_positions"
    if kept:
        inputs.append(Tensor("logit_positions", "int64", ("batch", "kept")))
        nodes.append(helper.make_node("GatherElements", [last, "logit_positions"], ["there"], axis=1))
        last = "there"
    if decode:
        inputs += [Tensor(f"past.0.{kind}", cache, ("batch", 1, "past", 1)) for kind in ("key", "value")]
    if encoder:
        inputs.append(Tensor("encoder_attention_mask", "int64", ("batch", "encoder_sequence")))
        cross = Tensor("cross.0.key", cache, ("batch", 1, "encoder_sequence", 1))
        if decode:
            inputs.append(cross)
        else:
            inputs.append(Tensor("encoder_hidden_states", "float32", ("batch", "encoder_sequence", 1)))
            outputs.append(cross)
            nodes += [
                helper.make_node("Unsqueeze", ["encoder_hidden_states", "head_axis"], ["states_heads"]),
                helper.make_node("Cast", ["states_heads"], ["cross.0.key"], to=_TYPES[cache]),
            ]
        nodes += [
            helper.make_node("Cast", ["cross.0.key"], ["cross_wide"], to=TensorProto.FLOAT),
            helper.make_node("Squeeze", ["cross_wide", "both_axes"], ["states"]),
            helper.make_node("Cast", ["encoder_attention_mask"], ["encoder_mask"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["states", "encoder_mask"], ["own_states"]),
            helper.make_node("ReduceSum", ["own_states", "ones"], ["state_sum"], keepdims=1),
            helper.make_node("Add", [last, "state_sum"], ["with_states"]),
        ]
        last = "with_states"
    nodes += [
        helper.make_node("Mod", [last, "modulus"], ["next"], fmod=1),
        helper.make_node("Cast", ["next"], ["next_ids"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["next_ids", "depth", "off_on"], ["logits"], axis=-1),
    ]
    constants = [
        helper.make_tensor("head_axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("last_axis", TensorProto.INT64, [1], [3]),
        helper.make_tensor("both_axes", TensorProto.INT64, [2], [1, 3]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("ones", TensorProto.INT64, [1], [1]),
        helper.make_tensor("minus", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("huge", TensorProto.INT64, [1], [2**62]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("modulus", TensorProto.FLOAT, [], [float(VOCABULARY)]),
        helper.make_tensor("depth", TensorProto.INT64, [], [VOCABULARY]),
        helper.make_tensor("off_on", TensorProto.FLOAT, [2], [0.0, 9.0]),
    ]
    return _graph(nodes, inputs, outputs, constants)


def _info(tensor):
    return helper.make_tensor_value_info(tensor.name, _TYPES[tensor.dtype], list(tensor.shape))
