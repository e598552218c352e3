"""A generating model's components in blocks, calibrated: shared bytes, spared products, and planted faults."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgekit.stages import component_files
from edgekit.stages.generating import quantize_components
from edgekit.stages.ladder import Blocks
from edgekit.stages.moments import CalibratedRounding, Moments
from edgekit.stages.products import constant
from edgekit.stages.weights import compare_weights

from .test_block_tables import HIDDEN, VOCABULARY, tied_model

# A quarter of the words is all that is said.
CALIBRATION = np.random.default_rng(3).integers(0, VOCABULARY // 4, (20, 60))
SMALL = Blocks(4, 32, 4, 32)


@pytest.fixture
def fp32(tmp_path):
    component_files.save({"prefill": tied_model(), "decode": tied_model()}, tmp_path / "fp32")
    return tmp_path / "fp32"


@pytest.fixture
def moments(fp32, tmp_path):
    return Moments(fp32, {"prefill": [{"ids": ids} for ids in CALIBRATION], "decode": []}, tmp_path / "work")


def make(fp32, folder, blocks, rounding):
    models = component_files.load(fp32)
    done = list(quantize_components(models, blocks, rounding))
    component_files.save(models, folder)
    return done, models


def error(folder, fp32):
    def answers(where):
        session = ort.InferenceSession(where / "decode.onnx", providers=["CPUExecutionProvider"])
        return session.run(None, {"ids": np.arange(VOCABULARY // 4)})[0]

    return np.linalg.norm(answers(folder) - answers(fp32)) / np.linalg.norm(answers(fp32))


def test_calibrated_rounding_answers_closer_than_nearest_rounding(fp32, moments, tmp_path):
    make(fp32, tmp_path / "nearest", SMALL, None)
    make(fp32, tmp_path / "calibrated", SMALL, CalibratedRounding(moments))
    assert error(tmp_path / "calibrated", fp32) < 0.8 * error(tmp_path / "nearest", fp32)


def test_components_share_the_bytes_of_what_was_calibrated_with_one_of_them(fp32, moments, tmp_path):
    make(fp32, tmp_path / "made", SMALL, CalibratedRounding(moments))
    numbers = VOCABULARY * HIDDEN + HIDDEN * HIDDEN
    assert (tmp_path / "made" / "weights.data").stat().st_size < 0.8 * numbers  # 4 bits, scales and a bias


def test_the_moment_is_that_of_the_inputs_and_a_tied_table_counts_its_rows_too(fp32, moments):
    table, middle = (constant(tied_model().graph.initializers[name]) for name in ("table", "middle"))
    x = table[CALIBRATION.ravel()]
    expected = x.T @ x / len(x)
    found = moments.of("middle")
    assert np.allclose(found - np.diag(np.diag(found)), expected - np.diag(np.diag(expected)), atol=1e-3)
    assert middle.shape == found.shape
    diagonal = np.diag(moments.of("table"))
    assert diagonal.min() >= 0.49 * diagonal.mean()
    assert moments.of("bias") is None


def test_the_most_disturbed_products_are_spared(fp32, moments, tmp_path):
    done, models = make(fp32, tmp_path / "made", Blocks(4, 32, 4, 32, spare=0.5), CalibratedRounding(moments))
    assert ("weights of them spared to int8", 1) in done
    bits = {
        node.inputs[1].name: node.attributes.get_int("bits")
        for node in models["decode"].graph
        if node.op_type == "MatMulNBits"
    }
    assert bits == {"middle.blocks": 8, "table.row_blocks": 4}
    checks = compare_weights(tmp_path / "made", fp32, moments).checks(saturating_target=False)
    assert all(check.passed for check in checks)


def edited(name, edit):
    def fault(model):
        value = model.graph.initializers[name]
        array = constant(value).copy()
        edit(array)
        value.const_value = ir.tensor(array, name=name)

    return fault


def times(factor):
    def edit(array):
        array[4, 1] *= np.float32(factor)

    return edit


def flip(array):
    array[7] = ~array[7]


def bump(array):
    array += 1


FAULTS = {
    "a block's scale off by 1 %": edited("middle.block_scale", times(1.01)),
    "a table's scale off by -1 %": edited("table.row_scale", times(0.99)),
    "NaN as a scale": edited("middle.block_scale", times(np.nan)),
    "a scale of zero": edited("table.row_scale", times(0)),
    "a flipped row": edited("middle.blocks", flip),
    "a flipped row of the table alone": edited("table.rows", flip),
    "a flipped row of the head alone": edited("table.row_blocks", flip),
    "a zero point off by one": edited("middle.blocks", bump),
    "a bias off by 1 %": edited("bias", lambda array: array.__imul__(np.float32(1.01))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_calibrated_weights_is_found(fp32, moments, tmp_path, fault):
    make(fp32, tmp_path / "made", SMALL, CalibratedRounding(moments))
    report = compare_weights(tmp_path / "made", fp32, moments)
    assert report.rounding.weights == 4  # a table and a product in each of two components
    assert all(check.passed for check in report.checks(saturating_target=True))
    models = component_files.load(tmp_path / "made")
    FAULTS[fault](models["decode"])
    component_files.save(models, tmp_path / "faulty")
    checks = compare_weights(tmp_path / "faulty", fp32, moments).checks(saturating_target=True)
    assert not all(check.passed for check in checks)


def test_without_its_moments_a_calibrated_file_is_no_rounding_of_the_original(fp32, moments, tmp_path):
    make(fp32, tmp_path / "made", SMALL, CalibratedRounding(moments))
    checks = compare_weights(tmp_path / "made", fp32).checks(saturating_target=False)
    assert not all(check.passed for check in checks)
