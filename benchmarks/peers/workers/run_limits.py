"""What this CPU can do at most: large products through ONNX Runtime, and reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from protocol import Request, Worker, serve

SIZE = 2048  # of the square products
REPEATS = 12
READ_BYTES = 1 << 30


def limits(request: Request) -> dict[str, Any]:
    """The best of several runs: 1e9 operations a second in float32 and int8, 1e9 bytes a second from memory."""
    threads = request["threads"]
    operations = 2 * SIZE**3 / 1e9
    int8 = {kind: operations / _best(_product(kind, threads)) for kind in ("uint8 x int8", "uint8 x uint8")}
    return {
        "size": SIZE,
        "float32_gflops": operations / _best(_product("float32", threads)),
        "int8_gops": max(int8.values()),
        "int8_kinds": int8,
        "read_gb_s": READ_BYTES / 1e9 / _best(_reader(threads)),
    }


def _best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def _product(kind: str, threads: int) -> Callable[[], object]:
    """A session with one product whose second operand is constant, as weights are."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    left, _, right = kind.partition(" x ")
    integers = bool(right)
    random = np.random.default_rng(0)
    second = random.integers(0, 100, (SIZE, SIZE)).astype(right or left)
    numbers = helper.np_dtype_to_tensor_dtype(np.dtype(left))
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if integers else "MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", numbers, [SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.INT32 if integers else numbers, [SIZE, SIZE])],
        [numpy_helper.from_array(second, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"x": random.integers(0, 100, (SIZE, SIZE)).astype(left)}
    return lambda: session.run(None, feeds)


def _reader(threads: int) -> Callable[[], object]:
    """A maximum over more than any cache holds, a part for each thread (numpy lets go of the lock)."""
    import numpy as np

    parts = np.array_split(np.ones(READ_BYTES // 4, dtype=np.int32), threads)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.max, parts))


if __name__ == "__main__":
    serve(Worker(more={"limits": limits}))
