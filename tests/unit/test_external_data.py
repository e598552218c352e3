import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, onnx_ml_pb2

from edgekit.errors import IntegrityError
from edgekit.runtime.external_data import ELEMENT_BITS, external_tensors

from .tiny_model import TABLE, external, model_bytes, onnx_model

FILES = {"model.onnx.data": 4096, "other.data": 64}
MODEL = model_bytes()


def graph(*, nodes=(), initializers=(), sparse=()):
    return helper.make_graph(list(nodes), "g", [], [], initializer=list(initializers), sparse_initializer=list(sparse))


def weight(**changes):
    fields = {"data_type": TensorProto.FLOAT, "dims": (4, 4)} | changes
    return external("w", fields.pop("data_type"), fields.pop("dims"), **fields)


def test_the_tensor_is_found_with_type_shape_and_place():
    (found,) = external_tensors(MODEL, FILES)
    assert (found.name, found.data_type, found.dims) == ("table", TensorProto.FLOAT, TABLE.shape)
    assert (found.location, found.offset, found.length) == ("model.onnx.data", 0, TABLE.nbytes)


def test_a_model_without_external_data_has_none():
    inside = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    assert external_tensors(onnx_model(graph(initializers=[inside])), {}) == ()
    assert external_tensors(b"", {}) == ()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(ELEMENT_BITS)),
            st.lists(st.integers(0, 5), max_size=4),
            st.integers(0, 1000),
            st.sampled_from(sorted(FILES)),
        ),
        max_size=5,
    )
)
def test_what_onnx_writes_is_read_the_same(specs):
    tensors, expected = [], []
    for number, (data_type, dims, offset, location) in enumerate(specs):
        count = 1
        for size in dims:
            count *= size
        length = (count * ELEMENT_BITS[data_type] + 7) // 8
        tensors.append(external(f"w{number}", data_type, dims, location=location, offset=offset, length=length))
        expected.append((f"w{number}", data_type, tuple(dims), location, offset, length))
    fits = all(offset + length <= FILES[location] for *_, location, offset, length in expected)
    data = onnx_model(graph(initializers=tensors))
    if fits:
        found = external_tensors(data, FILES)
        assert [(t.name, t.data_type, t.dims, t.location, t.offset, t.length) for t in found] == expected
    else:
        with pytest.raises(IntegrityError, match="ends at"):
            external_tensors(data, FILES)


def test_element_sizes_are_those_of_onnx():
    for data_type, bits in ELEMENT_BITS.items():
        if bits >= 8:
            assert helper.tensor_dtype_to_np_dtype(data_type).itemsize * 8 == bits
        else:
            assert str(bits) in TensorProto.DataType.Name(data_type)


def test_field_numbers_are_those_of_onnx():
    def number(message, field):
        return getattr(onnx_ml_pb2, message).DESCRIPTOR.fields_by_name[field].number

    wanted = {
        "ModelProto": {"graph": 7, "training_info": 20, "functions": 25},
        "TrainingInfoProto": {"initialization": 1, "algorithm": 2},
        "GraphProto": {"node": 1, "initializer": 5, "sparse_initializer": 15},
        "FunctionProto": {"node": 7, "attribute_proto": 11},
        "NodeProto": {"attribute": 5},
        "AttributeProto": {"t": 5, "g": 6, "tensors": 10, "graphs": 11, "sparse_tensor": 22, "sparse_tensors": 23},
        "SparseTensorProto": {"values": 1, "indices": 2},
        "TensorProto": {"dims": 1, "data_type": 2, "name": 8, "external_data": 13, "data_location": 14},
    }
    for message, fields in wanted.items():
        assert {field: number(message, field) for field in fields} == fields


def test_every_path_to_a_tensor_that_onnx_has_is_followed():
    """A later ONNX that keeps tensors in a new place fails here, before a bundle can use that place."""
    reached, waiting = set(), ["ModelProto"]
    while waiting:
        message = waiting.pop()
        for field in getattr(onnx_ml_pb2, message).DESCRIPTOR.fields:
            inner = field.message_type.name if field.message_type else ""
            if inner in {"TensorProto", "GraphProto", "SparseTensorProto", "NodeProto", "AttributeProto",
                         "FunctionProto", "TrainingInfoProto"} and (message, field.number) not in reached:  # fmt: skip
                reached.add((message, field.number))
                waiting.append(inner)
    assert reached == {
        ("ModelProto", 7), ("ModelProto", 20), ("ModelProto", 25), ("TrainingInfoProto", 1), ("TrainingInfoProto", 2),
        ("GraphProto", 1), ("GraphProto", 5), ("GraphProto", 15), ("FunctionProto", 7), ("FunctionProto", 11),
        ("NodeProto", 5), ("AttributeProto", 5), ("AttributeProto", 6), ("AttributeProto", 10),
        ("AttributeProto", 11), ("AttributeProto", 22), ("AttributeProto", 23), ("SparseTensorProto", 1),
        ("SparseTensorProto", 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    "location",
    ["", "../model.onnx.data", "/etc/passwd", "./model.onnx.data", "sub/model.onnx.data", "model.onnx.data/",
     "MODEL.ONNX.DATA", "model.onnx.data\0", "C:\\model.onnx.data", "*/_ORT_MEM_ADDR_/*"],
)  # fmt: skip
def test_only_a_listed_file_beside_the_model_is_accepted(location):
    with pytest.raises(IntegrityError, match="no listed file beside the model"):
        external_tensors(model_bytes(location=location), FILES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": -1}, "no natural number"),
        ({"offset": "0x10"}, "no natural number"),
        ({"offset": "1e3"}, "no natural number"),
        ({"offset": "٣"}, "no natural number"),
        ({"offset": 10**30}, "no natural number"),
        ({"length": -64}, "no natural number"),
        ({"length": 63}, "63 bytes, its shape .* needs 64"),
        ({"offset": 4096}, "ends at 4160"),
        ({"offset": 4033}, "ends at 4097"),
        ({"dims": (-4, -4)}, "impossible shape"),
        ({"dims": (1 << 40, 1 << 40)}, "no natural number"),
        ({"dims": (1 << 30, 4)}, "ends at"),
        ({"dims": (1,) * 33}, "impossible shape"),
        ({"data_type": TensorProto.STRING}, "data type 8"),
        ({"data_type": 0}, "data type 0"),
        ({"data_type": 999}, "data type 999"),
    ],
)
def test_places_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(IntegrityError, match=message):
        external_tensors(onnx_model(graph(initializers=[weight(**changes)])), FILES)


def test_an_offset_may_be_left_out():
    tensor = weight()
    del tensor.external_data[1]
    assert external_tensors(onnx_model(graph(initializers=[tensor])), FILES)[0].offset == 0


def test_unknown_and_double_entries_are_refused():
    for key, message in (("basepath", "basepath"), ("location", "twice")):
        tensor = weight()
        tensor.external_data.add(key=key, value="model.onnx.data")
        with pytest.raises(IntegrityError, match=message):
            external_tensors(onnx_model(graph(initializers=[tensor])), FILES)


def test_data_both_inside_and_outside_is_refused():
    tensor = weight()
    tensor.raw_data = bytes(64)
    with pytest.raises(IntegrityError, match="both inside and outside"):
        external_tensors(onnx_model(graph(initializers=[tensor])), FILES)


def test_a_name_of_a_file_without_the_mark_is_refused():
    tensor = weight()
    tensor.data_location = TensorProto.DEFAULT
    with pytest.raises(IntegrityError, match="keeps its data inside"):
        external_tensors(onnx_model(graph(initializers=[tensor])), FILES)


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(IntegrityError, match="one name"):
        external_tensors(onnx_model(graph(initializers=[weight(), weight()])), FILES)


def _node(**attributes):
    return helper.make_node("Op", [], [], **attributes)


def _sparse():
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    return onnx_ml_pb2.SparseTensorProto(values=weight(dims=(1,)), indices=indices, dims=[4])


def _function():
    model = onnx.load_from_string(onnx_model(graph()))
    model.functions.append(helper.make_function("d", "f", [], [], [_node(value=weight())], []))
    return model.SerializeToString()


def _function_default():
    model = onnx.load_from_string(onnx_model(graph()))
    function = helper.make_function("d", "f", [], [], [], [])
    function.attribute_proto.append(helper.make_attribute("value", weight()))
    model.functions.append(function)
    return model.SerializeToString()


def _training():
    model = onnx.load_from_string(onnx_model(graph()))
    model.training_info.add(algorithm=graph(initializers=[weight()]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        onnx_model(graph(nodes=[_node(value=weight())])),
        onnx_model(graph(nodes=[_node(values=[weight()])])),
        onnx_model(graph(nodes=[_node(body=graph(initializers=[weight()]))])),
        onnx_model(graph(nodes=[_node(bodies=[graph(nodes=[_node(value=weight())])])])),
        onnx_model(graph(nodes=[_node(value=_sparse())])),
        onnx_model(graph(nodes=[_node(values=[_sparse()])])),
        onnx_model(graph(sparse=[_sparse()])),
        _function(),
        _function_default(),
        _training(),
    ],
    ids=["attribute", "attributes", "subgraph", "nested", "sparse", "sparses", "initializer", "function", "default",
         "training"],
)  # fmt: skip
def test_external_data_anywhere_else_is_refused(data):
    with pytest.raises(IntegrityError, match="outside the main graph"):
        external_tensors(data, FILES)


def test_deep_nesting_is_refused():
    data = b""
    for _ in range(100):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # graph in attribute in node
            data = tag + _varint(len(data)) + data
    with pytest.raises(IntegrityError, match="nested deeper"):
        external_tensors(b"\x3a" + _varint(len(data)) + data, FILES)


def _varint(number):
    rest, low = divmod(number, 128)
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data):
    _read_or_refuse(data)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_models_are_read_or_refused(changes):
    data = bytearray(MODEL)
    for place, byte in changes:
        data[place] = byte
    _read_or_refuse(bytes(data))


def test_models_cut_anywhere_are_read_or_refused():
    for end in range(len(MODEL)):
        _read_or_refuse(MODEL[:end])


def _read_or_refuse(data):
    try:
        found = external_tensors(data, FILES)
    except IntegrityError:
        return
    for tensor in found:
        assert tensor.location in FILES
        assert 0 <= tensor.offset <= tensor.offset + tensor.length <= FILES[tensor.location]


@pytest.mark.parametrize(
    "data",
    [
        b"\x38\x01",  # the graph as a number
        b"\x3b\x3c",  # a group
        b"\x00\x00",  # field 0
        b"\xba\x80\x80\x80\x80\x00\x00",  # a tag of six bytes
        b"\x3a\x05\x0a",  # ends behind its message
        b"\x08" + b"\xff" * 9 + b"\x02",  # 65 bits
        b"\x08" + b"\x80" * 11,  # too long a number
        b"\x3a\x02\x28\x01",  # an initializer as a number
        b"\x3a\x04\x2a\x02\x70\x02",  # data location 2
        b"\x3a\x04\x2a\x02\x40\x01",  # a name as a number
        b"\x3a\x05\x2a\x03\x42\x01\xff",  # a name that is not UTF-8
    ],
)
def test_bytes_that_could_be_read_in_two_ways_are_refused(data):
    with pytest.raises(IntegrityError):
        external_tensors(data, FILES)
