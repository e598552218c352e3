"""Known-good graphs, one for each class of kernels, with the exact answers numpy gives.

A bundle is judged only where these come out right. Their int8 weights are limited by pairs, as edgekit's own are, so
that no right kernel can saturate on any CPU: whoever gets one wrong has a broken kernel, or a broken emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.portability.report import Probe
from edgekit.portability.tolerances import BLOCKS4, BLOCKS8, FLOAT16, FLOAT32, TOLERANCES, U8S8, U8U8

Arrays = dict[str, npt.NDArray[Any]]

# Neither a multiple of a register's width nor of a block: tails are where kernels go wrong.
_ROWS: Final = 5
_DEPTH: Final = 70
_WIDTH: Final = 50
_BLOCK: Final = 32
_OPSET: Final = 17  # every onnxruntime that reads a bundle knows it
_IR_VERSION: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class KnownGood:
    """A probe: a graph, what it is asked, and what is right.

    Attributes:
        kernels: Its class.
        model: The ONNX file.
        feeds: By input.
        expected: By output, exact.
    """

    kernels: str
    model: bytes
    feeds: Arrays
    expected: Arrays

    @property
    def file(self) -> str:
        """Its name in files."""
        return self.kernels.replace(" ", "-").replace(",", "")

    def judge(self, found: Arrays) -> Probe:
        """Hold an environment's answers against the exact ones."""
        bound = TOLERANCES[self.kernels].probe
        errors = [_error(exact, found.get(name)) for name, exact in self.expected.items()]
        known = [error for error in errors if error is not None]
        return Probe(self.kernels, max(known) if len(known) == len(errors) else None, bound)


def known_good(kernels: Iterable[str]) -> tuple[KnownGood, ...]:
    """The probes of these classes, in the table's order. Float32 is always among them."""
    wanted = {FLOAT32, *kernels}
    return tuple(_MADE[name]() for name in TOLERANCES if name in wanted)


def _error(exact: npt.NDArray[Any], found: npt.NDArray[Any] | None) -> float | None:
    if found is None or found.shape != exact.shape or not np.isfinite(found).all():
        return None
    difference = np.abs(exact.astype(np.float64) - found.astype(np.float64)).max()
    return float(difference / np.abs(exact.astype(np.float64)).max())


def _activations() -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(_ROWS, _DEPTH)).astype(np.float32)


def _float32() -> KnownGood:
    weights = np.random.default_rng(2).normal(size=(_DEPTH, _WIDTH)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    expected = _activations().astype(np.float64) @ weights.astype(np.float64)
    return _probe(FLOAT32, nodes, {"w": weights}, {"y": (TensorProto.FLOAT, expected)})


def _float16() -> KnownGood:
    weights = np.random.default_rng(2).normal(size=(_DEPTH, _WIDTH)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    expected = _activations().astype(np.float16).astype(np.float64) @ weights.astype(np.float64)
    return _probe(FLOAT16, nodes, {"w": weights}, {"y": (TensorProto.FLOAT, expected)})


def _u8s8() -> KnownGood:
    # No two neighbours add up to more than 128, for 255 x 128 fits 16 bits (docs/decisions/0004).
    weights = np.random.default_rng(3).integers(-64, 65, size=(_DEPTH, _WIDTH)).astype(np.int8)
    weights[::2, 0], weights[1::2, 0] = 127, 1
    return _int8(U8S8, weights, zero_point=0)


def _u8u8() -> KnownGood:
    weights = np.random.default_rng(3).integers(0, 256, size=(_DEPTH, _WIDTH)).astype(np.uint8)
    return _int8(U8U8, weights, zero_point=128)


def _int8(kernels: str, weights: npt.NDArray[Any], *, zero_point: int) -> KnownGood:
    """The product as ONNX Runtime fuses it, judged beside the float product, and its integers, which must be exact."""
    scale, zero = np.float32(0.01), weights.dtype.type(zero_point)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "q_scale", "q_zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "q_zero", "w_zero"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["q_scale", "w_scale"], ["step"]),
        helper.make_node("Mul", ["float", "step"], ["y"]),
        # Asked for as they are, and of an activation of its own, so that the product above stays one that is fused.
        helper.make_node("MatMulInteger", ["integers", "w", "i_zero", "w_zero"], ["exact"]),
    ]
    integers = np.random.default_rng(4).integers(0, 256, size=(_ROWS, _DEPTH)).astype(np.uint8)
    integers[0] = 255
    wide = weights.astype(np.int64) - zero_point
    x = _activations()
    expected = {
        "y": (TensorProto.FLOAT, x.astype(np.float64) @ (wide * float(scale))),
        "exact": (TensorProto.INT32, (integers.astype(np.int64) - 3) @ wide),
    }
    constants = {"w": weights, "w_zero": zero, "w_scale": scale, "i_zero": np.uint8(3)}
    return _probe(kernels, nodes, constants, expected, {"integers": integers})


def _blocks8() -> KnownGood:
    return _blocks(BLOCKS8, 8)


def _blocks4() -> KnownGood:
    return _blocks(BLOCKS4, 4)


def _blocks(kernels: str, bits: int) -> KnownGood:
    count = -(-_DEPTH // _BLOCK)
    generator = np.random.default_rng(5)
    values = generator.integers(0, 2**bits, size=(_WIDTH, count, _BLOCK)).astype(np.uint8)
    scales = generator.uniform(0.5, 1.5, size=(_WIDTH, count)).astype(np.float32) / 2**bits
    packed = values if bits == 8 else values[..., ::2] | (values[..., 1::2] << 4)
    wide = (values.astype(np.float64) - 2 ** (bits - 1)) * scales[..., None]
    weights = wide.reshape(_WIDTH, -1)[:, :_DEPTH].T
    # Accuracy level 4, products of 8-bit activations, is what edgekit's recipes ask for.
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "scales"], ["y"], domain="com.microsoft",
        K=_DEPTH, N=_WIDTH, bits=bits, block_size=_BLOCK, accuracy_level=4,
    )  # fmt: skip
    expected = _activations().astype(np.float64) @ weights
    return _probe(kernels, [node], {"w": packed, "scales": scales}, {"y": (TensorProto.FLOAT, expected)})


def _probe(
    kernels: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any],
    expected: Mapping[str, tuple[int, npt.NDArray[Any]]],
    feeds: Arrays | None = None,
) -> KnownGood:
    asked: Arrays = {"x": _activations(), **(feeds or {})}
    graph = helper.make_graph(
        nodes,
        "probe",
        [_described(name, helper.np_dtype_to_tensor_dtype(array.dtype), array) for name, array in asked.items()],
        [_described(name, kind, array) for name, (kind, array) in expected.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return KnownGood(kernels, model.SerializeToString(), asked, {name: array for name, (_, array) in expected.items()})


def _described(name: str, kind: int, array: npt.NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(array.shape))


_MADE: Final[dict[str, Callable[[], KnownGood]]] = {
    FLOAT32: _float32,
    FLOAT16: _float16,
    U8S8: _u8s8,
    U8U8: _u8u8,
    BLOCKS8: _blocks8,
    BLOCKS4: _blocks4,
}
