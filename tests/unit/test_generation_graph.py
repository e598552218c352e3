"""Repairs of exported graphs: keys in the cache are rotated by each row's own positions."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgekit.stages.generation_graph import cache_in_place, rotate_before_attention
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


def decoding_model():
    """One step over a past, whose length the exporter reads off the past itself."""
    floats, integers = ir.DataType.FLOAT, ir.DataType.INT64
    packed = given("packed", floats, ["batch", 1, WIDTH])
    mask = given("attention_mask", integers, ["batch", "total"])
    pasts = [given(f"past.0.{name}", floats, ["batch", KEY_HEADS, "past", SIZE]) for name in ("key", "value")]
    one = ir.Value(name="one", const_value=ir.tensor(np.array([1], np.int64), name="one"))
    length = ir.node("Shape", [pasts[0]], {"start": 2, "end": 3})
    rows = ir.node("Shape", [pasts[0]], {"start": 0, "end": 1})
    total = ir.node("Add", [length.outputs[0], one])
    total_int = ir.node("Cast", [total.outputs[0]], {"to": ir.DataType.INT32})
    last = ir.node("Cast", [length.outputs[0]], {"to": ir.DataType.INT32})
    lasts = ir.node("Expand", [last.outputs[0], rows.outputs[0]])
    scalar = ir.node("Squeeze", [total_int.outputs[0]])
    attention = ir.node(
        "GroupQueryAttention",
        [packed, None, None, *pasts, lasts.outputs[0], scalar.outputs[0]],
        {"num_heads": HEADS, "kv_num_heads": KEY_HEADS},
        domain="com.microsoft",
        num_outputs=3,
    )
    nodes = [length, rows, total, total_int, last, lasts, scalar, attention]
    for place, node in enumerate(nodes):
        node.name = f"node_{place}"
        for index, output in enumerate(node.outputs):
            output.name = f"value_{place}_{index}"
    shapes = (["batch", 1, HEADS * SIZE], *(["batch", KEY_HEADS, "total", SIZE],) * 2)
    names = ("answer", "present.0.key", "present.0.value")
    for output, name, shape in zip(attention.outputs, names, shapes, strict=True):
        output.name, output.shape, output.type = name, ir.Shape(shape), ir.TensorType(floats)
    opsets = {"": 20, "com.microsoft": 1}
    graph = ir.Graph([packed, mask, *pasts], attention.outputs, nodes=nodes, initializers=[one], opset_imports=opsets)
    return ir.Model(graph, ir_version=10)


def decode(model, states, key, value, *, length, capacity):
    """The answer and the keys after a step over ``length`` tokens that lie in a buffer of ``capacity``."""
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    buffers = []
    for array in (key, value):
        buffer = np.full((BATCH, KEY_HEADS, capacity, SIZE), 9, np.float32)
        buffer[:, :, :length] = array
        buffers.append(ort.OrtValue.ortvalue_from_numpy(buffer))
    binding = session.io_binding()
    binding.bind_cpu_input("packed", states)
    binding.bind_cpu_input("attention_mask", np.ones((BATCH, length + 1), np.int64))
    for name, buffer in zip(("key", "value"), buffers, strict=True):
        binding.bind_ortvalue_input(f"past.0.{name}", buffer)
        if capacity > length:
            binding.bind_ortvalue_output(f"present.0.{name}", buffer)
        else:
            binding.bind_output(f"present.0.{name}")
    binding.bind_output("answer")
    session.run_with_iobinding(binding)
    present, _, answer = binding.get_outputs()
    return answer.numpy().copy(), present.numpy()[:, :, : length + 1].copy()  # of memory that goes with this


def test_a_cache_in_a_longer_buffer_grows_in_place():
    random = np.random.default_rng(0)
    states = random.normal(size=(BATCH, 1, WIDTH)).astype(np.float32)
    key, value = random.normal(size=(2, BATCH, KEY_HEADS, LENGTH, SIZE)).astype(np.float32)
    expected = decode(decoding_model(), states, key, value, length=LENGTH, capacity=LENGTH)
    model = decoding_model()
    assert cache_in_place(model)
    assert {str(tensor.shape[2]) for tensor in model.graph.inputs[2:]} == {"capacity"}
    for capacity in (LENGTH, LENGTH + 1, 64):
        found = decode(model, states, key, value, length=LENGTH, capacity=capacity)
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_cache_that_something_else_reads_is_left_alone():
    model = decoding_model()
    node = ir.node("Identity", [model.graph.inputs[2]])
    node.outputs[0].name = "copy"
    model.graph.append(node)
    assert not cache_in_place(model)


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
