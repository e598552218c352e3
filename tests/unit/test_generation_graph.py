"""Repairs of exported graphs: keys in the cache are rotated by each row's own positions."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgekit.stages.generation_graph import rotate_before_attention
from edgekit.stages.parameter_names import name_weights

HEADS, KEY_HEADS, SIZE = 4, 2, 16
BATCH, LENGTH = 2, 5
WIDTH = (HEADS + 2 * KEY_HEADS) * SIZE


def given(name, kind, shape):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(kind))


def attention_model(*, packed):
    """The attention of a prefill as the exporter leaves it: rotated inside, by a cache with a row for each token."""
    floats, integers = ir.DataType.FLOAT, ir.DataType.INT64
    states = [given("packed", floats, ["batch", "sequence", WIDTH]), None, None]
    if not packed:
        names = {"query": HEADS, "key": KEY_HEADS, "value": KEY_HEADS}
        states = [given(name, floats, ["batch", "sequence", count * SIZE]) for name, count in names.items()]
    lengths = [given("seqlens", ir.DataType.INT32, ["batch"]), given("total", ir.DataType.INT32, [])]
    rotary = [given(name, floats, ["tokens", SIZE // 2]) for name in ("cosines", "sines")]
    rotary.append(given("positions", integers, ["batch", "sequence"]))
    attributes = {"num_heads": HEADS, "kv_num_heads": KEY_HEADS, "do_rotary": 1, "rotary_interleaved": 0}
    inputs = [*states, None, None, *lengths, *rotary]
    node = ir.node("GroupQueryAttention", inputs, attributes, domain="com.microsoft", num_outputs=3)
    node.name = "attention"
    shapes = (["batch", "sequence", HEADS * SIZE], *(["batch", KEY_HEADS, "sequence", SIZE],) * 2)
    for output, name, shape in zip(node.outputs, ("answer", "present.0.key", "present.0.value"), shapes, strict=True):
        output.name, output.shape, output.type = name, ir.Shape(shape), ir.TensorType(floats)
    graph = ir.Graph(
        [value for value in inputs if value is not None],
        node.outputs,
        nodes=[node],
        opset_imports={"": 20, "com.microsoft": 1},
    )
    return ir.Model(graph, ir_version=10)


def rotated(key, angles):
    """Half-and-half rotary embedding of (batch, sequence, heads, size)."""
    left, right = np.split(key, 2, axis=-1)
    cosines, sines = np.cos(angles)[:, :, None], np.sin(angles)[:, :, None]
    return np.concatenate([left * cosines - right * sines, right * cosines + left * sines], axis=-1)


@pytest.mark.parametrize("packed", [True, False])
def test_each_row_is_rotated_by_its_own_positions(packed):
    random = np.random.default_rng(0)
    states = random.normal(size=(BATCH, LENGTH, WIDTH)).astype(np.float32)
    places = np.array([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])  # the second padded on the left
    angles = (places[..., None] * 0.5 ** np.arange(SIZE // 2)).astype(np.float32)
    query, key, value = np.split(states, [HEADS * SIZE, (HEADS + KEY_HEADS) * SIZE], axis=-1)
    feeds = {"packed": states} if packed else {"query": query, "key": key, "value": value}
    feeds |= {
        "seqlens": np.full(BATCH, LENGTH - 1, np.int32),
        "total": np.array(LENGTH, np.int32),
        "cosines": np.cos(angles).reshape(-1, SIZE // 2),
        "sines": np.sin(angles).reshape(-1, SIZE // 2),
        "positions": np.arange(BATCH * LENGTH).reshape(BATCH, LENGTH),
    }
    model = attention_model(packed=packed)
    assert rotate_before_attention(model) == 1
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    _, found, values = session.run(None, feeds)
    expected = rotated(key.reshape(BATCH, LENGTH, KEY_HEADS, SIZE), angles).transpose(0, 2, 1, 3)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(values, value.reshape(BATCH, LENGTH, KEY_HEADS, SIZE).transpose(0, 2, 1, 3))


def test_attention_over_a_past_is_left_alone():
    model = attention_model(packed=True)
    (node,) = model.graph
    past = given("past.0.key", ir.DataType.FLOAT, ["batch", KEY_HEADS, "past", SIZE])
    model.graph.inputs.append(past)
    node.replace_input_with(3, past)
    assert rotate_before_attention(model) == 0
    assert node.attributes.get_int("do_rotary") == 1


class Parameter:
    """As much of a torch parameter as naming reads."""

    def __init__(self, array):
        self.array, self.ndim = array, array.ndim

    def detach(self):
        return self

    def numpy(self):
        return self.array


class Module:
    def __init__(self, **arrays):
        self.arrays = arrays

    def named_parameters(self):
        for name, array in self.arrays.items():
            yield f"model.{name.replace('_', '.')}", Parameter(array)


def test_weights_get_the_names_of_their_parameters():
    random = np.random.default_rng(0)
    query, key, table = (random.normal(size=(rows, 32)).astype(np.float32) for rows in (32, 16, 40))
    stored = {
        "val_1": np.concatenate([query.T, key.T], axis=1),
        "val_2": table,
        "val_3": key.T,
        "val_4": random.normal(size=(32, 32)).astype(np.float32),
    }
    values = []
    for name, array in stored.items():
        value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
        values.append(value)
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": 20})
    assert name_weights(ir.Model(graph, ir_version=10), Module(query=query, key=key, table=table)) == 3
    assert set(graph.initializers) == {"query+key", "table", "key", "val_4"}
