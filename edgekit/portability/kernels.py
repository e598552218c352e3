"""Which classes of kernels a variant's graphs use, read from its nodes."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError
from edgekit.portability.tolerances import BLOCKS4, BLOCKS8, FLOAT16, FLOAT32, TOLERANCES, U8S8, U8U8
from edgekit.spec.manifest import Variant

_PRODUCTS = {"MatMulInteger": 1, "ConvInteger": 1, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1}
_QDQ = {"QLinearMatMul": 3, "QLinearConv": 3, "DequantizeLinear": 0}


def kernels_of(bundle: Bundle, variant: Variant) -> tuple[str, ...]:
    """The classes, in the order of :data:`~edgekit.portability.tolerances.TOLERANCES`.

    Raises:
        IntegrityError: A graph is not, byte for byte, what the manifest lists, or no ONNX.
    """
    found = {FLOAT32}
    for component in variant.graphs:
        path = variant.graph_path(component)
        try:
            model = onnx.load_model_from_string(bytes(bundle.read(path)))
        except Exception as error:  # protobuf's and onnx's own, which share no class
            raise IntegrityError(f"{path}: not an ONNX model: {error}", hint="get the bundle again") from error
        found.update(_classes(model))
    return tuple(name for name in TOLERANCES if name in found)


def _classes(model: onnx.ModelProto) -> Iterator[str]:
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    if TensorProto.FLOAT16 in types.values():
        yield FLOAT16
    for node in model.graph.node:
        place = _PRODUCTS.get(node.op_type, _QDQ.get(node.op_type))
        if place is not None and len(node.input) > place:
            kind = types.get(node.input[place])
            if kind == TensorProto.INT8:
                yield U8S8
            elif kind == TensorProto.UINT8:
                yield U8U8
        elif node.op_type == "MatMulNBits":
            bits = next((attribute.i for attribute in node.attribute if attribute.name == "bits"), 4)
            yield BLOCKS8 if bits == 8 else BLOCKS4
