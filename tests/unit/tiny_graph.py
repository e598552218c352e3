"""A float graph of two products, a norm-free stand-in for an encoder layer, for the passes."""

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

WIDTH, INNER = 64, 96


def tiny_graph(seed=0):
    """tokens (n, 64) -> gelu-free MLP with an outlier channel; weights ``up`` and ``down``."""
    random = np.random.default_rng(seed)
    up = random.normal(0, 0.1, (WIDTH, INNER)).astype(np.float32)
    down = random.normal(0, 0.1, (INNER, WIDTH)).astype(np.float32)
    gain = np.ones(INNER, np.float32)
    gain[5] = 40  # the outlier that dynamic int8 trips over
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["wide"]),
        helper.make_node("Tanh", ["wide"], ["bent"]),
        helper.make_node("Mul", ["bent", "gain"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "down"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in (("up", up), ("down", down), ("gain", gain))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ir.from_proto(model)


def answers(model, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def inputs(count=50, seed=1):
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def relative_error(answer, exact):
    return float(np.linalg.norm(answer - exact) / np.linalg.norm(exact))
