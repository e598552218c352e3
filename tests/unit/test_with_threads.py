"""A second model of an open bundle, with other threads: the same answers, and no byte that was not verified."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError, UsageError
from edgekit.runtime import load, pipeline

from .tiny_generator import write_seq2seq
from .tiny_model import DIMENSION, FOLDER, VOCABULARY, onnx_model, write_tiny_model

TEXTS = [f"word{number} word{number + 1} word{number + 2}" for number in range(50)]


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "bundle")


def test_answers_are_the_same_and_weights_are_not_read_again(folder, monkeypatch):
    with load(folder, threads=2, allow_unsigned=True) as model:
        read, paths = Bundle.read, []
        monkeypatch.setattr(Bundle, "read", lambda self, path: paths.append(path) or read(self, path))
        with model.with_threads(1) as other:
            assert (model.threads, other.threads) == (2, 1)
            assert (other.variant, other.standing, other.manifest) == (model.variant, model.standing, model.manifest)
            assert other.embed(TEXTS).tobytes() == model.embed(TEXTS).tobytes()
        assert f"{FOLDER}/model.onnx" in paths
        assert f"{FOLDER}/model.onnx.data" not in paths
        assert model.embed("word1").shape == (DIMENSION,)  # closing one leaves the other open
        with pytest.raises(UsageError, match="closed"):
            other.embed("word1")


def test_weights_outlive_the_model_that_read_them(folder):
    model = load(folder, threads=2)
    expected = model.embed(TEXTS)
    with model.with_threads(1) as other:
        model.close()
        assert other.embed(TEXTS).tobytes() == expected.tobytes()


def test_what_was_changed_since_is_refused_and_changed_weights_are_not_looked_at(folder):
    with load(folder) as model:
        weights = folder / FOLDER / "model.onnx.data"
        weights.write_bytes(bytes(weights.stat().st_size))
        with model.with_threads(1) as other:
            assert other.embed(TEXTS).tobytes() == model.embed(TEXTS).tobytes()
        graph = folder / FOLDER / "model.onnx"
        graph.write_bytes(graph.read_bytes()[:-1] + b"x")
        with pytest.raises(IntegrityError, match=r"model\.onnx"):
            model.with_threads(1)


def test_a_closed_model_has_no_second_one(folder):
    model = load(folder)
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.with_threads(1)


def test_what_it_is_used_for_stays(tmp_path):
    with pipeline("summarization", write_seq2seq(tmp_path / "bundle")) as model, model.with_threads(1) as other:
        assert other("w3 w4") == model("w3 w4")
        assert other.task == "summarization"


def test_threads_that_split_every_product_change_no_bit(tmp_path):
    """Products, norms and integers large enough for ONNX Runtime to split: it splits what is computed, not sums."""
    folder = write_tiny_model(tmp_path / "bundle", files={f"{FOLDER}/model.onnx": _layered(width=256, inner=1024)})
    with load(folder, threads=4) as model, model.with_threads(1) as other:
        for batch in (1, 7, 32):
            wide, narrow = (one.embed(TEXTS, batch_size=batch) for one in (model, other))
            assert np.isfinite(wide).all()
            assert np.linalg.norm(wide - wide[0], axis=1).max() > 0.01
            assert wide.tobytes() == narrow.tobytes()


def _layered(width, inner):
    """A block as encoders have it: product, activation, product, residual, norm; then a product of 8-bit
    integers, whose scale is taken from all that came before."""
    random = np.random.default_rng(3)

    def constant(name, value):
        return numpy_helper.from_array(value, name)

    def drawn(name, *shape):
        return constant(name, (random.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32))

    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["x"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"]),
        node("Mul", ["x", "column"], ["masked"]),
        node("MatMul", ["masked", "up"], ["wide"]),
        node("Tanh", ["wide"], ["active"]),
        node("MatMul", ["active", "down"], ["back"]),
        node("Add", ["masked", "back"], ["sum"]),
        node("LayerNormalization", ["sum", "scale", "shift"], ["normed"]),
        node("DynamicQuantizeLinear", ["normed"], ["q", "q_scale", "q_zero"]),
        node("MatMulInteger", ["q", "up8", "q_zero"], ["product"]),
        node("Cast", ["product"], ["real"], to=TensorProto.FLOAT),
        node("Mul", ["real", "q_scale"], ["scaled"]),
        node("MatMul", ["scaled", "head"], ["last_hidden_state"]),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", DIMENSION])
    constants = [
        drawn("table", len(VOCABULARY), width),
        drawn("up", width, inner),
        drawn("down", inner, width),
        constant("scale", np.ones(width, np.float32)),
        constant("shift", np.zeros(width, np.float32)),
        constant("up8", random.integers(-60, 60, (width, inner)).astype(np.int8)),
        drawn("head", inner, DIMENSION),
        constant("last", np.array([-1])),
    ]
    return onnx_model(helper.make_graph(nodes, "layered", ids, [states], constants))
