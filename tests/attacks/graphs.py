"""Bad graphs and bad tokenizers: what a bundle's own, correctly listed files can be beside sound."""

import json

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekit.runtime.golden import Golden, write_golden

from ..unit.tiny_model import TABLE, external, model_bytes, tokenizer_json  # noqa: TID252

HUGE = 1 << 40


def bad_graphs() -> dict[str, bytes]:
    """Graphs by name that no bundle may be opened with."""
    good = model_bytes()
    found = {
        "empty": b"",
        "a zip": b"PK\x03\x04" + bytes(100),
        "text": b"graph { node { } }" * 100,
        "noise": bytes(range(256)) * 64,
        "zeros": bytes(1 << 16),
        "something behind": good + b"\xff" * 16,
        "twice": good + good,
    }
    found |= {f"cut at {at}": good[: len(good) * at // 10] for at in range(1, 10)}
    for name, location in {
        "an absolute path": "/etc/passwd",
        "a parent's": "../model.onnx.data",
        "a parent's, hidden": "x/../../secret",
        "an unlisted file": "other.data",
        "edgekit.json": "../../edgekit.json",
        "a file with a NUL": "model.onnx.data\0x",
        "a Windows path": "C:\\x",
        "a share": "\\\\host\\share",
        "no name": "",
        "a device": "/dev/zero",
        "a process's file": "/proc/self/mem",
    }.items():
        found[f"weights in {name}"] = model_bytes(location=location)
    for name, changes in {
        "behind the end": {"offset": TABLE.nbytes, "length": TABLE.nbytes},
        "at a negative place": {"offset": -4, "length": TABLE.nbytes},
        "at a place beyond 64 bits": {"offset": 1 << 70, "length": TABLE.nbytes},
        "of another length": {"length": 4},
        "of a negative length": {"length": -TABLE.nbytes},
        "of no length it has": {"length": HUGE},
    }.items():
        found[f"weights {name}"] = with_table(external("table", TensorProto.FLOAT, TABLE.shape, **changes))
    for name, dims in {
        "a negative": (-1, 8),
        "a huge": (HUGE, 8),
        "an overflowing": (1 << 62, 4),
        "too many": (1,) * 1000,
    }.items():
        found[f"weights of {name} dimension"] = with_table(external("table", TensorProto.FLOAT, dims))
    found["weights inside, shorter than their shape"] = with_table(
        TensorProto(name="table", data_type=TensorProto.FLOAT, dims=TABLE.shape, raw_data=bytes(8))
    )
    for name, change in {
        "opset 9999": lambda model: setattr(model.opset_import[0], "version", 9999),
        "opset -1": lambda model: setattr(model.opset_import[0], "version", -1),
        "IR version 9999": lambda model: setattr(model, "ir_version", 9999),
        "no graph": lambda model: model.ClearField("graph"),
        "an unknown operator": lambda model: setattr(model.graph.node[0], "op_type", "Nonesuch"),
        "an unknown domain": lambda model: setattr(model.graph.node[0], "domain", "nobody.example"),
        "a cycle": lambda model: model.graph.node[0].input.__setitem__(0, "last_hidden_state"),
        "an input of nobody": lambda model: model.graph.node[0].input.__setitem__(0, "nobody"),
        "two nodes of one output": lambda model: model.graph.node[1].output.__setitem__(0, "scaled"),
        "an output of another type": lambda model: setattr(
            model.graph.output[0].type.tensor_type, "elem_type", TensorProto.INT64
        ),
        "another input": lambda model: setattr(model.graph.input[0], "name", "ids"),
    }.items():
        model = ModelProto.FromString(good)
        change(model)
        found[name] = model.SerializeToString()
    found["graphs 24 deep"] = model_bytes(extra_nodes=nested(24))
    return found


def bombs() -> dict[str, bytes]:
    """Graphs by name that make an optimizer compute something large before anything is asked."""
    shape = helper.make_tensor("huge", TensorProto.INT64, [1], [HUGE])
    value = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    doubling = [helper.make_node("Concat", [f"d{n}", f"d{n}"], [f"d{n + 1}"], axis=0) for n in range(40)]
    ends = [helper.make_node("ReduceSum", ["d40"], ["end"], keepdims=0)]
    bounds = {"start": 0, "limit": 1 << 50, "delta": 1}
    limits = [helper.make_tensor(name, TensorProto.INT64, [], [number]) for name, number in bounds.items()]
    return {
        "ConstantOfShape": with_nodes([helper.make_node("ConstantOfShape", ["huge"], ["bomb"])], [shape]),
        "Expand": with_nodes([helper.make_node("Expand", ["one", "huge"], ["bomb"])], [shape, value]),
        "Tile": with_nodes([helper.make_node("Tile", ["one", "huge"], ["bomb"])], [shape, value]),
        "Range": with_nodes([helper.make_node("Range", list(bounds), ["bomb"])], limits),
        "doubling": with_nodes([*doubling, *ends], [helper.make_tensor("d0", TensorProto.FLOAT, [1], [1.0])], "end"),
    }


def endless() -> dict[str, bytes]:
    """Graphs by name that are opened like any other, and whose first answer never comes."""
    yes, most = (numpy_helper.from_array(np.array(value)) for value in (True, np.iinfo(np.int64).max))
    kept = [helper.make_node("Identity", [name], [f"{name}_after"]) for name in ("goes_on", "one_value")]
    inputs = [helper.make_tensor_value_info("turn", TensorProto.INT64, []), truth("goes_on"), scalar("one_value")]
    body = helper.make_graph(kept, "body", inputs, [truth("goes_on_after"), scalar("one_value_after")])
    start = [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("Constant", [], ["most"], value=most),
        # Of an input, so that no optimizer finds the answer beforehand.
        helper.make_node("ReduceMax", ["plain"], ["start"], keepdims=0),
    ]
    return {
        name: with_nodes([*start, helper.make_node("Loop", [turns, "yes", "start"], ["bomb"], body=body)], [])
        for name, turns in {"2^63 turns": "most", "as many turns as it likes": ""}.items()
    }


def growing() -> bytes:
    """A graph that doubles what it holds, at every turn of a loop."""
    yes = numpy_helper.from_array(np.array(True))
    double = [
        helper.make_node("Identity", ["goes_on"], ["goes_on_after"]),
        helper.make_node("Concat", ["held", "held"], ["held_after"], axis=0),
    ]
    held, after = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("held", "held_after"))
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    body = helper.make_graph(double, "body", [turn, truth("goes_on"), held], [truth("goes_on_after"), after])
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("ReduceMax", ["plain"], ["start"], keepdims=0),
        helper.make_node("Reshape", ["start", "last"], ["row"]),
        helper.make_node("Loop", ["", "yes", "row"], ["bomb"], body=body),
    ]
    return with_nodes(nodes, [])


def slow_tokenizer() -> dict[str, bytes]:
    """Files with a tokenizer that takes exponential time for the golden text beside it."""
    slow = json.loads(tokenizer_json()) | {"pre_tokenizer": splitting("(x+x+)+y")}
    case = Golden({"text": "x" * 64}, {"embedding": np.ones(TABLE.shape[1], np.float32)})
    return {
        "text/tokenizer.json": json.dumps(slow).encode(),
        "golden/cases.json": write_golden("feature-extraction", [case]),
    }


def bad_tokenizers() -> dict[str, bytes]:
    """Tokenizers by name that no text can be asked with."""
    good = json.loads(tokenizer_json())
    return {
        "empty": b"",
        "null": b"null",
        "a list": b"[]",
        "noise": bytes(range(256)) * 16,
        "cut": tokenizer_json()[:200],
        "deep": b'{"version":' + b"[" * 1_000_000,
        "another version": json.dumps(good | {"version": "9.0"}).encode(),
        "an unknown model": json.dumps(good | {"model": {"type": "Nonesuch"}}).encode(),
        "no model": json.dumps({key: value for key, value in good.items() if key != "model"}).encode(),
        "broken merges": json.dumps(good | {"model": bpe(["a b c d"])}).encode(),
        "merges of unknown words": json.dumps(good | {"model": bpe(["q z"])}).encode(),
        "a broken regex": json.dumps(good | {"pre_tokenizer": splitting("(((")}).encode(),
        "a negative id": json.dumps(good | {"model": {**good["model"], "vocab": {"[UNK]": -1}}}).encode(),
    }


def bad_golden_cases() -> dict[str, bytes]:
    """Files of golden cases by name that prove nothing."""
    start = b'{"schema_version": "2.0", "task": "feature-extraction", "cases": '
    good = json.loads(write_golden("feature-extraction", [Golden({"text": "a"}, {"embedding": TABLE[0]})]))
    (case,) = good["cases"]
    huge = case["expected"]["embedding"] | {"shape": [HUGE, HUGE]}
    return {
        "empty": b"",
        "none": start + b"[]}",
        "many brackets": start + b"[" + b"[]," * 2_700_000 + b"[]]}",
        "deep": start + b"[" * 1_000_000,
        "of another task": json.dumps(good | {"cases": [case | {"input": {"question": "a", "context": "b"}}]}).encode(),
        "a huge array": json.dumps(good | {"cases": [case | {"expected": {"embedding": huge}}]}).encode(),
    }


def bpe(merges):
    return {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": merges}


def splitting(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def with_table(table) -> bytes:
    model = ModelProto.FromString(model_bytes())
    model.graph.initializer[0].CopyFrom(table)
    return model.SerializeToString()


def with_nodes(nodes, constants, output="bomb") -> bytes:
    """The good graph, its answer multiplied by the largest number of another value."""
    model = ModelProto.FromString(model_bytes())
    total = helper.make_node("ReduceMax", [output], ["largest"], keepdims=0)
    as_float = helper.make_node("Cast", ["largest"], ["largest_float"], to=TensorProto.FLOAT)
    model.graph.node[-1].output[0] = "plain"
    last = helper.make_node("Mul", ["plain", "largest_float"], ["last_hidden_state"])
    model.graph.node.extend([*nodes, total, as_float, last])
    model.graph.initializer.extend(constants)
    return model.SerializeToString()


def nested(depth):
    """``If`` in ``If``."""
    graph, yes = small(), numpy_helper.from_array(np.array(True))
    for number in range(depth):
        condition = helper.make_node("Constant", [], [f"yes{number}"], value=yes)
        inner = helper.make_node("If", [f"yes{number}"], ["inner"], then_branch=graph, else_branch=small())
        graph = helper.make_graph([condition, inner], f"level{number}", [], [scalar("inner")])
    return [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("If", ["yes"], ["deep"], then_branch=graph, else_branch=small()),
    ]


def small():
    node = helper.make_node("Constant", [], ["inner"], value=numpy_helper.from_array(np.float32(1)))
    return helper.make_graph([node], "small", [], [scalar("inner")])


def scalar(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [])


def truth(name):
    return helper.make_tensor_value_info(name, TensorProto.BOOL, [])


def bad_scales() -> dict[str, bytes]:
    """Graphs by name that quantize their answer with a scale that makes every one of them useless."""
    found = {}
    for name, scale in {"zero": 0, "NaN": np.nan, "infinite": np.inf, "negative": -0.01, "tiny": 1e-45}.items():
        model = ModelProto.FromString(model_bytes())
        model.graph.node[-1].output[0] = "plain"
        nodes = [
            helper.make_node("QuantizeLinear", ["plain", "scale"], ["small"], output_dtype=TensorProto.INT8),
            helper.make_node("DequantizeLinear", ["small", "scale"], ["last_hidden_state"]),
        ]
        model.graph.node.extend(nodes)
        model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]))
        found[name] = model.SerializeToString()
    return found


def not_a_number() -> dict[str, bytes]:
    """Weights by name that make every answer useless, of the good table's size."""
    nan, zero = TABLE.copy(), np.zeros_like(TABLE)
    nan[3, 3] = np.nan
    infinite = TABLE.copy()
    infinite[:, 0] = np.inf
    return {"NaN": nan.tobytes(), "zeros": zero.tobytes(), "infinities": infinite.tobytes()}
