import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError, InputError, IntegrityError
from edgekit.runtime.session import open_session
from edgekit.spec.manifest import Component, Tensor

from .tiny_model import (
    FOLDER,
    TABLE,
    external,
    model_bytes,
    onnx_model,
    plain_variant,
    target,
    tiny_manifest,
    write_tiny_model,
)

IDS = np.array([[2, 5, 3]], dtype=np.int64)
FEEDS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}


def opened(folder, **changes):
    bundle = Bundle.open(write_tiny_model(folder, **changes))
    return open_session(bundle, bundle.manifest.variants[0], threads=1)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("session") / "bundle")


def test_it_answers(session):
    np.testing.assert_allclose(session.run(FEEDS)["last_hidden_state"], 2 * TABLE[IDS], atol=1e-6)


def test_weights_come_from_verified_memory_and_never_from_the_disk(tmp_path):
    """The optimizer folds table * 2, for which ONNX Runtime would open the file itself."""

    class Swapped(Bundle):
        def read(self, path):
            if path.endswith(".data"):
                return self.weights
            self.weights = super().read(f"{FOLDER}/model.onnx.data")
            content = super().read(path)
            (self.root / FOLDER / "model.onnx.data").write_bytes(np.full_like(TABLE, 1000).tobytes())
            return content

    bundle = Swapped.open(write_tiny_model(tmp_path / "bundle"))
    session = open_session(bundle, bundle.manifest.variants[0], threads=1)
    np.testing.assert_allclose(session.run(FEEDS)["last_hidden_state"], 2 * TABLE[IDS], atol=1e-6)


def test_the_folder_may_vanish_once_it_is_open(tmp_path):
    session = opened(tmp_path / "bundle")
    for file in (tmp_path / "bundle" / FOLDER).iterdir():
        file.unlink()
    np.testing.assert_allclose(session.run(FEEDS)["last_hidden_state"], 2 * TABLE[IDS], atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1, 2, 64])
@pytest.mark.parametrize(
    ("data_type", "stored", "values"),
    [
        (TensorProto.FLOAT, np.array([1.5, -2, 3, 4, 5, 6], "<f4").tobytes(), [1.5, -2, 3, 4, 5, 6]),
        (TensorProto.FLOAT16, np.array([1.5, -2, 3, 4, 5, 6], "<f2").tobytes(), [1.5, -2, 3, 4, 5, 6]),
        (TensorProto.BFLOAT16, np.array([0x3FC0, 0xC000, 0, 0, 0, 0x3F80], "<u2").tobytes(), [1.5, -2, 0, 0, 0, 1]),
        (TensorProto.INT8, bytes([1, 0xFF, 3, 4, 5, 0x80]), [1, -1, 3, 4, 5, -128]),
        (TensorProto.UINT8, bytes([1, 255, 3, 4, 5, 6]), [1, 255, 3, 4, 5, 6]),
        (TensorProto.INT64, np.array([1, -2, 3, 4, 5, 6], "<i8").tobytes(), [1, -2, 3, 4, 5, 6]),
        (TensorProto.BOOL, bytes([1, 0, 1, 1, 0, 0]), [1, 0, 1, 1, 0, 0]),
        (TensorProto.INT4, bytes([0x21, 0xF3, 0x78]), [1, 2, 3, -1, -8, 7]),
        (TensorProto.UINT4, bytes([0x21, 0xF3, 0x78]), [1, 2, 3, 15, 8, 7]),
        (TensorProto.FLOAT8E4M3FN, bytes([0x38, 0xB8, 0x40, 0, 0, 0]), [1, -1, 2, 0, 0, 0]),
    ],
    ids=lambda value: TensorProto.DataType.Name(value) if isinstance(value, int) else "",
)
def test_every_type_of_weight_arrives(tmp_path, data_type, stored, values, offset):
    """Types numpy lacks and offsets that are odd for the type included."""
    weight = external("w", data_type, [2, 3], offset=offset, length=len(stored))
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])
    quantized = data_type in (TensorProto.INT4, TensorProto.UINT4)
    convert = (
        helper.make_node("DequantizeLinear", ["w", "scale"], ["float"])
        if quantized
        else helper.make_node("Cast", ["w"], ["float"], to=TensorProto.FLOAT)
    )
    nodes = [
        convert,
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "ids"], ["last_hidden_state"]),
    ]
    graph = helper.make_graph(
        nodes,
        "types",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["a", "b"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["a", "b"])],
        [weight, *([scale] if quantized else [])],
    )
    session = opened(
        tmp_path / "bundle",
        files={f"{FOLDER}/model.onnx": onnx_model(graph), f"{FOLDER}/model.onnx.data": bytes(offset) + stored},
        components={
            "model": Component(
                (Tensor("input_ids", "int64", ("a", "b")),), (Tensor("last_hidden_state", "float32", ("a", "b")),)
            )
        },
    )
    answer = session.run({"input_ids": np.ones((2, 3), np.int64)})["last_hidden_state"]
    np.testing.assert_array_equal(answer, np.array(values, np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_ids": None}, "expected the inputs attention_mask, input_ids, got attention_mask"),
        ({"other": IDS}, "got attention_mask, input_ids, other"),
        ({"input_ids": IDS.astype(np.int32)}, "input_ids: expected an array of int64, got int32"),
        ({"input_ids": IDS.tolist()}, "input_ids: expected an array of int64, got list"),
        ({"input_ids": IDS[0]}, "input_ids: expected 2 dimensions, got 1"),
        ({"input_ids": np.zeros((2, 3), np.int64)}, "shape"),
        ({"input_ids": IDS[:0], "attention_mask": IDS[:0]}, "shape"),
        ({"input_ids": IDS + 100}, "onnxruntime refused the input: .*out of data bounds"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(session, changes, message):
    feeds = {name: array for name, array in (FEEDS | changes).items() if array is not None}
    with pytest.raises(InputError, match=message):
        session.run(feeds)


def test_a_graph_that_asks_for_too_much_is_no_matter_of_the_input(tmp_path):
    model = load_from_string(model_bytes())
    model.graph.node[-1].output[0] = "plain"
    model.graph.initializer.append(helper.make_tensor("repeats", TensorProto.INT64, [3], [1, 1, 1 << 40]))
    nodes = [
        helper.make_node("Tile", ["plain", "repeats"], ["many"]),
        helper.make_node("ReduceMax", ["many"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["plain", "largest"], ["last_hidden_state"]),
    ]
    model.graph.node.extend(nodes)
    session = opened(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": model.SerializeToString()})
    with pytest.raises(HostError, match=r"^onnxruntime failed while running: .*Tile"):
        session.run(FEEDS)


@pytest.mark.parametrize(
    "key",
    ["ep.context_file_path", "session.optimized_model_filepath", "session.enable_profiling", "session.unheard_of"],
)
def test_a_bundle_may_not_set_just_any_session_option(tmp_path, key):
    with pytest.raises(HostError, match=key):
        opened(tmp_path / "bundle", variants=(plain_variant(session_options={key: "1"}),))


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x08\x0a", bytes(100), b"ORTM" * 20])
def test_what_is_no_model_is_an_integrity_error(tmp_path, data):
    with pytest.raises(IntegrityError, match="model"):
        opened(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": data})


def test_a_model_for_a_later_onnxruntime_is_a_host_error(tmp_path):
    model = load_from_string(model_bytes())
    model.opset_import[0].version = 9999
    with pytest.raises(HostError, match=r"onnxruntime .* cannot open it here.*opset"):
        opened(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": model.SerializeToString()})


def test_an_unknown_operator_is_a_typed_error(tmp_path):
    unknown = helper.make_node("Mystery", ["input_ids"], ["nothing"], domain="example.unknown")
    with pytest.raises(HostError, match=r"Mystery|example\.unknown"):
        opened(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": model_bytes(extra_nodes=[unknown])})


def test_external_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.data").write_bytes(TABLE.tobytes())
    with pytest.raises(IntegrityError, match="no listed file"):
        opened(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": model_bytes(location="../../../secret.data")})


def test_a_graph_that_the_manifest_does_not_describe_is_refused(tmp_path):
    inputs = tiny_manifest().components["model"].inputs
    outputs = (Tensor("last_hidden_state", "float16", ("batch", "sequence", 8)),)
    with pytest.raises(IntegrityError, match=r"its outputs are .*float32.* lists .*float16"):
        opened(tmp_path / "bundle", components={"model": Component(inputs, outputs)})


def test_a_provider_that_is_not_there_is_a_host_error(tmp_path):
    bundle = Bundle.open(write_tiny_model(tmp_path / "bundle"))
    cuda = dataclasses.replace(target("x86_64-avx2", "x86_64"), execution_provider="CUDAExecutionProvider")
    bundle.manifest = tiny_manifest(
        targets={"x86_64-avx2": cuda}, variants=(plain_variant(targets=("x86_64-avx2",)),), files=bundle.manifest.files
    )
    with pytest.raises(HostError, match="CUDAExecutionProvider, which this onnxruntime does not have"):
        open_session(bundle, bundle.manifest.variants[0], threads=1)
