"""Whether an int8 file could saturate on x86 without VNNI, read from its weights: no sample needs to hit the sum.

There ONNX Runtime multiplies uint8 by int8 with ``vpmaddubsw``, which adds two products up in 16 bits (onnxruntime
issues 6004 and 14642). The export's check ``int8 pair sum`` holds edgekit's own files to it; a file that came into the
bundle another way is held to it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from edgekit.bundle.reading import Bundle
from edgekit.runtime.external_data import external_tensors
from edgekit.spec.manifest import Variant

PAIR_LIMIT: Final = 32767 // 255

# The weights' place among the inputs. Convolutions are made of other kernels, which do not saturate so.
_WEIGHTS: Final = {"MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1, "QLinearMatMul": 3}


def largest_pair(bundle: Bundle, variant: Variant) -> int:
    """The largest magnitude that two neighbouring int8 weights of a product add up to; 0 where there are none.

    Raises:
        IntegrityError: A file is not, byte for byte, what the manifest lists.
    """
    return max((_pair_sum(matrix) for matrix in _matrices(bundle, variant)), default=0)


def _matrices(bundle: Bundle, variant: Variant) -> Iterator[npt.NDArray[Any]]:
    sizes = {
        entry.path.rpartition("/")[2]: entry.size
        for entry in bundle.manifest.files
        if entry.path.rpartition("/")[0] == variant.folder
    }
    files: dict[str, memoryview] = {}
    for component in variant.graphs:
        data = bytes(bundle.read(variant.graph_path(component)))
        model = onnx.load_model_from_string(data)
        wanted = {
            node.input[place]
            for node in model.graph.node
            if (place := _WEIGHTS.get(node.op_type, 0)) and len(node.input) > place
        }
        for tensor in external_tensors(data, sizes):
            if tensor.name in wanted and tensor.data_type == TensorProto.INT8:
                if tensor.location not in files:
                    files[tensor.location] = bundle.read(f"{variant.folder}/{tensor.location}")
                part = np.frombuffer(files[tensor.location], np.int8, count=tensor.length, offset=tensor.offset)
                yield part.reshape(tensor.dims)
        for kept in model.graph.initializer:
            inside = kept.data_location != TensorProto.EXTERNAL
            if kept.name in wanted and kept.data_type == TensorProto.INT8 and inside:
                yield numpy_helper.to_array(kept)


def _pair_sum(matrix: npt.NDArray[Any]) -> int:
    wide = matrix.astype(np.int32).reshape(-1, *matrix.shape[-2:])
    if wide.shape[1] % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:, :1])], axis=1)
    signed = (np.maximum(wide, 0), np.maximum(-wide, 0))
    return max((int((part[:, ::2] + part[:, 1::2]).max()) for part in signed if part.size), default=0)
