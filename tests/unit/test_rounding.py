"""Calibrated rounding keeps outputs better than nearest rounding, and the check of it sees what breaks that."""

import numpy as np
import pytest

from edgekit.stages.blockwise import stored
from edgekit.stages.rounded_weights import check_rounding
from edgekit.stages.rounding import damped, errors_and_steps, output_errors, plain, round_calibrated

OUTPUTS, INPUTS = 24, 128


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).normal(size=(OUTPUTS, INPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def moment():
    """Of inputs that hang together, as a network's do, with a few large channels."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2000, 16)) @ random.normal(size=(16, INPUTS)) + random.normal(size=(2000, INPUTS))
    inputs *= np.exp(random.normal(size=INPUTS))
    return damped((inputs.T @ inputs / len(inputs)).astype(np.float32))


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 128), (8, 32), (8, 128)])
def test_outputs_are_kept_better_than_by_nearest_rounding(rows, moment, bits, block):
    nearest = output_errors(rows, plain(rows, bits, block).values(), moment)
    rounded = round_calibrated(rows, bits, block, moment)
    errors = output_errors(rows, rounded.values(), moment)
    assert (errors <= nearest).all()
    assert errors.sum() < 0.5 * nearest.sum()
    limit = 1 << (bits - 1)
    assert rounded.integers.min() >= -limit
    assert rounded.integers.max() < limit


def test_the_error_is_that_of_the_outputs(rows):
    inputs = np.random.default_rng(2).normal(size=(500, INPUTS)).astype(np.float32)
    values = plain(rows, 4, 32).values()
    expected = ((inputs @ (values - rows).T) ** 2).mean(axis=0)
    assert np.allclose(output_errors(rows, values, inputs.T @ inputs / len(inputs)), expected, rtol=1e-3)


def test_no_scale_leaves_less_error_for_its_integers(rows, moment):
    rounded = round_calibrated(rows, 4, 32, moment)
    _, steps = errors_and_steps(rows, rounded, moment)
    assert np.abs(steps).max() < 5e-3
    before = output_errors(rows, rounded.values(), moment)
    for factor in (0.98, 1.02):
        rounded.scales[:, 1] *= np.float32(factor)
        assert (output_errors(rows, rounded.values(), moment) > before).all()
        rounded.scales[:, 1] /= np.float32(factor)


def test_rounding_again_gives_the_same_bytes(rows, moment):
    first, second = (round_calibrated(rows, 4, 32, moment) for _ in range(2))
    assert np.array_equal(first.integers, second.integers)
    assert np.array_equal(first.scales, second.scales)


def test_rows_of_zeros_stay_zeros(moment):
    rows = np.zeros((3, INPUTS), np.float32)
    rows[1] = 1
    rounded = round_calibrated(rows, 4, 32, moment)
    assert not rounded.values()[[0, 2]].any()
    assert np.isfinite(rounded.scales).all()
    assert all(check.passed for check in checked(rows, rounded, moment))


def checked(rows, rounded, moment, bits=4):
    blocks = stored(rounded.integers.reshape(*rounded.scales.shape, -1), bits)
    return check_rounding(rows, blocks, rounded.scales, moment).checks()


def scale_off(factor):
    def edit(rounded):
        rounded.scales[5, 2] *= np.float32(factor)

    return edit


def flipped_row(rounded):
    rounded.integers[7] = -1 - rounded.integers[7]


def zero_point(rounded):
    np.clip(rounded.integers + 1, -8, 7, out=rounded.integers)


def swapped_rows(rounded):
    rounded.integers[[3, 4]] = rounded.integers[[4, 3]]


FAULTS = {
    "one scale off by 1 %": scale_off(1.01),
    "one scale off by -1 %": scale_off(0.99),
    "one scale of zero": scale_off(0),
    "NaN as a scale": scale_off(np.nan),
    "a flipped row": flipped_row,
    "swapped rows": swapped_rows,
    "a zero point off by one": zero_point,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_the_check(rows, moment, fault):
    rounded = round_calibrated(rows, 4, 32, moment)
    assert all(check.passed for check in checked(rows, rounded, moment))
    FAULTS[fault](rounded)
    assert not all(check.passed for check in checked(rows, rounded, moment))


def test_nearest_rounding_is_no_calibrated_rounding(rows, moment):
    # Its scales are the largest weight's, not the least-squares ones: what was not done is not claimed.
    assert not all(check.passed for check in checked(rows, plain(rows, 4, 32), moment))
