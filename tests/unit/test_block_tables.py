"""Tables and heads in blocks: tied ones stay tied, in the graph's answers and on the disk."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgekit.stages import component_files
from edgekit.stages.block_tables import quantize_tables, split_gemms
from edgekit.stages.blockwise import dequantize, fitting_block, quantize_blocks, quantize_rows
from edgekit.stages.products import constant
from edgekit.stages.weights import compare_weights

VOCABULARY, HIDDEN = 300, 64


def initializer(name, array):
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    return value


def tied_model(factor=1.0):
    """Rows of a table, through a ``Gemm`` with a bias, against the same table."""
    random = np.random.default_rng(0)
    table = initializer("table", random.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32))
    middle = initializer("middle", random.normal(size=(HIDDEN, HIDDEN)).astype(np.float32))
    bias = initializer("bias", random.normal(size=HIDDEN).astype(np.float32))
    ids = ir.Value(name="ids", shape=ir.Shape(["n"]), type=ir.TensorType(ir.DataType.INT64))
    rows = ir.node("Gather", [table, ids])
    inner = ir.node("Gemm", [rows.outputs[0], middle, bias])
    # ONNX Runtime wants three dimensions where an operand is turned.
    axes = initializer("axes", np.array([0], np.int64))
    deep = ir.node("Unsqueeze", [inner.outputs[0], axes])
    head = ir.node("FusedMatMul", [deep.outputs[0], table], {"transB": 1, "alpha": factor}, domain="com.microsoft")
    nodes = [rows, inner, deep, head]
    for place, node in enumerate(nodes):
        node.name, node.outputs[0].name = f"node_{place}", f"value_{place}"
    head.outputs[0].name = "logits"
    head.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    head.outputs[0].shape = ir.Shape([1, "n", VOCABULARY])
    opsets = {"": 20, "com.microsoft": 1}
    graph = ir.Graph([ids], head.outputs, nodes=nodes, initializers=[table, middle, bias, axes], opset_imports=opsets)
    return ir.Model(graph, ir_version=10)


def answers(folder, component="decode"):
    session = ort.InferenceSession(folder / f"{component}.onnx")
    return session.run(None, {"ids": np.arange(20, dtype=np.int64)})[0]


@pytest.mark.parametrize("factor", [1.0, 0.125])
def test_a_tied_table_is_stored_once_and_answers_alike(tmp_path, factor):
    component_files.save({"prefill": tied_model(factor), "decode": tied_model(factor)}, tmp_path / "fp32")
    models = {"prefill": tied_model(factor), "decode": tied_model(factor)}
    for model in models.values():
        assert split_gemms(model) == 1
        assert quantize_tables(model) == 1
        assert quantize_blocks(model, bits=8) == 1
        assert "table" not in model.graph.initializers
        assert {node.op_type for node in model.graph} >= {"GatherBlockQuantized", "MatMulNBits"}
    component_files.save(models, tmp_path / "made")
    found, expected = answers(tmp_path / "made"), answers(tmp_path / "fp32")
    assert 0 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.02
    integers = VOCABULARY * HIDDEN + HIDDEN * HIDDEN
    assert (tmp_path / "made" / "weights.data").stat().st_size < 1.2 * integers
    report = compare_weights(tmp_path / "made", tmp_path / "fp32")
    assert report.quantized == 4  # a table and a product in each of two components
    assert all(check.passed for check in report.checks(saturating_target=True))


@pytest.mark.parametrize("name", ["table.rows", "table.row_blocks", "table.row_scale"])
def test_a_fault_in_a_table_is_found(tmp_path, name):
    component_files.save({"decode": tied_model()}, tmp_path / "fp32")
    model = tied_model()
    quantize_tables(model)
    value = model.graph.initializers[name]
    array = constant(value).copy()
    array.flat[5] = array.flat[5] * 1.1 if array.dtype.kind == "f" else array.flat[5] ^ 3
    value.const_value = ir.tensor(array, name=name)
    component_files.save({"decode": model}, tmp_path / "made")
    checks = compare_weights(tmp_path / "made", tmp_path / "fp32").checks(saturating_target=False)
    assert not all(check.passed for check in checks)


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 128), (8, 32), (8, 64)])
def test_rows_come_back_within_half_a_step(bits, block):
    rows = np.random.default_rng(1).normal(size=(5, 256)).astype(np.float32)
    rows[2] = 0
    stored, scales = quantize_rows(rows, bits, block)
    assert stored.shape == (5, 256 // block, block * bits // 8)
    distance = np.abs(dequantize(stored, scales, bits).T - rows) / np.repeat(scales, block, axis=1)
    assert distance.max() <= 0.5 + 1e-3


def test_four_bits_are_half_of_eight_and_farther_off():
    sizes, errors = [], []
    exact = tied_model()
    weight = constant(exact.graph.initializers["middle"])
    for bits in (4, 8):
        model = tied_model()
        split_gemms(model)
        quantize_blocks(model, bits=bits)
        stored = model.graph.initializers
        blocks, scales = constant(stored["middle.blocks"]), constant(stored["middle.block_scale"])
        sizes.append(blocks.nbytes)
        errors.append(np.abs(dequantize(blocks, scales, bits) - weight).mean())
    assert sizes[1] == 2 * sizes[0]
    assert errors[0] > 5 * errors[1]


def test_the_head_keeps_its_bits():
    model = tied_model()
    split_gemms(model)
    quantize_blocks(model, bits=4, outputs=HIDDEN)  # as if the middle were the head
    (node,) = [node for node in model.graph if node.op_type == "MatMulNBits"]
    assert node.attributes.get_int("bits") == 8


@pytest.mark.parametrize(("width", "block", "fitting"), [(256, 128, 128), (192, 128, 64), (96, 128, 32), (40, 128, 0)])
def test_a_block_divides_the_width(width, block, fitting):
    assert fitting_block(width, block) == fitting
