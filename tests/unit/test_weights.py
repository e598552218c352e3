import numpy as np
import pytest
from onnx import TensorProto

from edgekit.errors import HostError
from edgekit.runtime.external_data import ExternalTensor
from edgekit.runtime.weights import read_weights

BUFFER = memoryview(bytearray(range(256)))
START = np.frombuffer(BUFFER, np.uint8).ctypes.data


class Memory:
    """A bundle whose files are one buffer."""

    def read(self, path):
        assert path == "model/plain/w.data"
        return BUFFER


def value(data_type, dims, offset, length):
    tensor = ExternalTensor("w", data_type, dims, "w.data", offset, length)
    return read_weights(Memory(), "model/plain", [tensor], {})["w"]


@pytest.mark.parametrize(
    ("data_type", "length"),
    [(TensorProto.FLOAT, 24), (TensorProto.BFLOAT16, 12), (TensorProto.INT8, 6), (TensorProto.INT4, 3)],
)
def test_weights_are_used_where_they_lie(data_type, length):
    weight = value(data_type, (2, 3), 64, length)
    assert weight.data_ptr() == START + 64
    assert weight.shape() == [2, 3]


@pytest.mark.parametrize(("data_type", "length", "size"), [(TensorProto.FLOAT, 24, 4), (TensorProto.BFLOAT16, 12, 2)])
def test_weights_at_odd_offsets_are_moved_to_even_ones(data_type, length, size):
    assert value(data_type, (2, 3), 65, length).data_ptr() % size == 0


def test_a_scalar_and_an_empty_tensor_are_weights_too():
    assert value(TensorProto.FLOAT, (), 0, 4).shape() == []
    assert value(TensorProto.FLOAT, (0, 3), 0, 0).shape() == [0, 3]


def test_an_empty_tensor_of_a_type_numpy_lacks_is_refused():
    with pytest.raises(HostError, match="empty tensor"):
        value(TensorProto.INT4, (0, 3), 0, 0)
