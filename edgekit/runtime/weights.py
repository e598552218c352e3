"""Weights in external data, handed to ONNX Runtime from verified memory without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.runtime.external_data import ExternalTensor

if TYPE_CHECKING:
    import onnxruntime

# Numpy's names of the types that ONNX Runtime takes from numpy as they are, by TensorProto.DataType.
_NUMPY_TYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip


def read_weights(
    bundle: Bundle, folder: str, tensors: Iterable[ExternalTensor], files: dict[str, memoryview]
) -> dict[str, onnxruntime.OrtValue]:
    """The tensors by name, as views of their files' verified bytes.

    Args:
        bundle: Where the files are.
        folder: The model's folder in the bundle.
        tensors: As :func:`edgekit.runtime.external_data.external_tensors` found them.
        files: What was read already, by name, so that components share one copy; what is read here is added.

    Returns:
        Values that keep their memory alive, and must themselves outlive the session that uses them.

    Raises:
        IntegrityError: A file is not what the manifest lists.
        HostError: A tensor's type cannot be handed over.
    """
    values = {}
    for tensor in tensors:
        if tensor.location not in files:
            files[tensor.location] = bundle.read(f"{folder}/{tensor.location}")
        part = np.frombuffer(files[tensor.location], np.uint8, count=tensor.length, offset=tensor.offset)
        values[tensor.name] = _value(part, tensor)
    return values


def hand_over(options: onnxruntime.SessionOptions, values: Mapping[str, onnxruntime.OrtValue]) -> None:
    """Give the weights to ONNX Runtime twice, which is what makes it both safe and small.

    With ``add_initializer`` alone the optimizer still opens the file on the disk when it folds constants: bytes that
    nobody verified. ``add_external_initializers`` replaces them before that, but copies them for the session, unless
    ``add_initializer`` names them too: then they are used in place. Seen with onnxruntime 1.32; a test holds it.
    """
    if not values:
        return
    for name, value in values.items():
        options.add_initializer(name, value)
    options.add_external_initializers(list(values), list(values.values()))


def _value(part: npt.NDArray[np.uint8], tensor: ExternalTensor) -> onnxruntime.OrtValue:
    import onnxruntime as ort  # not at the top: programs that only read a bundle do not pay for it

    if tensor.data_type in _NUMPY_TYPES:
        array = part.view(_NUMPY_TYPES[tensor.data_type]).reshape(tensor.dims)
        # A copy, only where the offset is odd for the type.
        return ort.OrtValue.ortvalue_from_numpy(np.require(array, requirements="A"))
    if tensor.length == 0:
        raise HostError(f"{tensor.name!r}: an empty tensor of ONNX type {tensor.data_type} cannot be handed over")
    # Numpy has no such type. ONNX Runtime takes the pointer and the shape from the array and checks the element's
    # size; a strided view gives packed 4-bit types their shape without memory of that size.
    two_bytes = tensor.length == 2 * int(np.prod(tensor.dims))
    cells = np.require(part.view(np.uint16), requirements="A") if two_bytes else part
    shaped = np.lib.stride_tricks.as_strided(cells, shape=tensor.dims, strides=(0,) * len(tensor.dims))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(shaped, tensor.data_type)
