"""Runs a graph on memory that the caller owns, so that a cache is never copied between steps.

Made by :meth:`edgekit.runtime.session.Session.binding`; it is part of the border to ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, HostError, InputError
from edgekit.spec.manifest import Tensor

if TYPE_CHECKING:
    import onnxruntime

_DEVICE: Final = ("cpu", 0)


class Buffer:
    """Memory for a tensor whose shape may change while its place stays.

    The pages are touched only as they are used, so a buffer for the longest cache costs what its present length costs.

    Args:
        dtype: Of the elements.
        elements: How many it holds.

    Raises:
        HostError: There is not so much memory.
    """

    __slots__ = ("address", "array", "dtype")

    def __init__(self, dtype: npt.DTypeLike, elements: int) -> None:
        self.dtype = np.dtype(dtype)
        try:
            self.array = np.empty(max(1, elements), dtype=self.dtype)
        except (MemoryError, ValueError) as error:
            raise HostError(
                f"no memory for a buffer of {elements} {self.dtype} elements",
                hint="fewer tokens (max_new_tokens) or smaller batches need less",
            ) from error
        self.address = int(self.array.ctypes.data)

    def view(self, *shape: int) -> npt.NDArray[Any]:
        """The first elements as an array of this shape."""
        return self.array[: math.prod(shape)].reshape(shape)


class Binding:
    """Inputs and outputs of one graph, bound to buffers, and the run over them. For one thread.

    Args:
        session: ONNX Runtime's.
        inputs: What the graph takes.
        outputs: What it gives.
        failure: Makes the error for what ONNX Runtime raises.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        failure: Callable[[Exception], EdgekitError],
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._inputs = {tensor.name: tensor for tensor in inputs}
        self._outputs = {tensor.name: tensor for tensor in outputs}
        self._missing = {*self._inputs, *self._outputs}
        self._held: dict[str, Buffer] = {}  # ONNX Runtime only knows addresses: these keep the memory
        self._failure = failure

    def input(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        """Read ``name`` from the first elements of ``buffer`` at every run until it is bound anew.

        Raises:
            InputError: The graph has no such input, or not of this type and shape.
        """
        _check(self._inputs, "input", name, buffer, shape)
        self._binding.bind_input(name, *_DEVICE, buffer.dtype, shape, buffer.address)
        self._hold(name, buffer)

    def output(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        """Write ``name`` into the first elements of ``buffer``; the graph must give exactly this shape.

        Raises:
            InputError: The graph has no such output, or not of this type and shape.
        """
        _check(self._outputs, "output", name, buffer, shape)
        self._binding.bind_output(name, *_DEVICE, buffer.dtype, shape, buffer.address)
        self._hold(name, buffer)

    def run(self) -> None:
        """Run the graph once over what is bound.

        Raises:
            InputError: Something is not bound.
            HostError: ONNX Runtime failed.
        """
        if self._missing:
            raise InputError(f"not bound: {', '.join(sorted(self._missing))}")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise self._failure(error) from error

    def _hold(self, name: str, buffer: Buffer) -> None:
        self._held[name] = buffer
        self._missing.discard(name)


def _check(known: dict[str, Tensor], what: str, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
    tensor = known.get(name)
    if tensor is None:
        raise InputError(f"the graph has no {what} {name}; it has {', '.join(sorted(known))}")
    if tensor.dtype != buffer.dtype.name:
        raise InputError(f"{what} {name}: expected {tensor.dtype}, got {buffer.dtype}")
    fits = len(shape) == len(tensor.shape) and all(
        size > 0 and (size == wanted or isinstance(wanted, str))
        for size, wanted in zip(shape, tensor.shape, strict=True)
    )
    if not fits or math.prod(shape) > buffer.array.size:
        raise InputError(f"{what} {name}: shape {shape} does not fit {tensor.shape} in {buffer.array.size} elements")
