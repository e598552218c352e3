"""A float graph of one attention over masked keys, with whatever a test plants in it, for the float16 passes."""

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

WIDTH, KEYS = 16, 5
LOWEST = float(np.finfo(np.float32).min)


def masked_graph(*, gain=1.0, epsilon=1e-5, lowest=LOWEST):
    """x (n, 16), mask (n, 5) of 0 and 1 -> y (n, 16).

    ``gain`` multiplies the scores' width-wide vector up and down again, so that a large one overflows float16 on the
    way and changes no answer; ``epsilon`` is added under a root.
    """
    random = np.random.default_rng(3)
    constants = {
        "keys": random.normal(0, 0.5, (WIDTH, KEYS)).astype(np.float32),
        "values": random.normal(0, 1, (KEYS, WIDTH)).astype(np.float32),
        "gain": np.float32(gain),
        "loss": np.float32(1 / gain),
        "epsilon": np.float32(epsilon),
        "one": np.float32(1),
        "lowest": np.float32(lowest),
    }
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["loud"]),
        helper.make_node("Mul", ["loud", "loss"], ["quiet"]),
        helper.make_node("MatMul", ["quiet", "keys"], ["scores"]),
        helper.make_node("Sub", ["one", "mask"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "lowest"], ["bias"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "values"], ["mixed"]),
        helper.make_node("Mul", ["mixed", "mixed"], ["squared"]),
        helper.make_node("Add", ["squared", "epsilon"], ["under"]),
        helper.make_node("Sqrt", ["under"], ["root"]),
        helper.make_node("Div", ["mixed", "root"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "masked",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", KEYS]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ir.from_proto(model)


def feeds(count=6, seed=4):
    random = np.random.default_rng(seed)
    mask = (np.arange(KEYS) < random.integers(1, KEYS + 1, (count, 1))).astype(np.float32)
    return {"x": random.normal(size=(count, WIDTH)).astype(np.float32), "mask": mask}


def run(model, inputs, **options):
    """Through ONNX Runtime's CPU provider; ``options`` are session entries with ``_`` for ``.``."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    for key, value in options.items():
        chosen.add_session_config_entry(key.replace("__", "."), value)
    model = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]
