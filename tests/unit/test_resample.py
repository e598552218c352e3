"""The device's resize is Pillow's, to the last bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.runtime.resample import resize
from edgekit.spec.settings.image import RESAMPLES

STORED = Path(__file__).parent / "images" / "resized.npz"
EDGES = st.integers(1, 90)


def pixels(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(image, size, resample):
    image_module = pytest.importorskip("PIL.Image")
    resized = image_module.fromarray(image).resize((size[1], size[0]), image_module.Resampling[resample.upper()])
    return np.array(resized).transpose(2, 0, 1)


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("size", [(9, 11), (40, 31), (5, 30)])
def test_stored_results_of_pillow(resample, size):
    with np.load(STORED) as stored:
        source, expected = stored["source"], stored[f"{resample}_{size[0]}x{size[1]}"]
    np.testing.assert_array_equal(resize(source.transpose(2, 0, 1), size, resample), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("resample", RESAMPLES)
@given(seed=st.integers(0, 9), shape=st.tuples(EDGES, EDGES), size=st.tuples(EDGES, EDGES))
@example(seed=0, shape=(1, 90), size=(40, 3))
@example(seed=0, shape=(90, 1), size=(3, 40))
@example(seed=0, shape=(90, 30), size=(10, 28))  # vertically first
@example(seed=0, shape=(33, 44), size=(33, 20))  # one pass
@example(seed=0, shape=(33, 44), size=(20, 44))
@example(seed=0, shape=(1, 1), size=(90, 90))
def test_any_size_as_pillow(resample, seed, shape, size):
    image = pixels(seed, *shape)
    np.testing.assert_array_equal(resize(image.transpose(2, 0, 1), size, resample), by_pillow(image, size, resample))


@pytest.mark.parametrize("resample", RESAMPLES)
def test_edges_of_black_and_white_are_clipped_as_pillow_clips(resample):
    # Filters with negative lobes overshoot at such edges; what leaves 0..255 must not wrap round.
    image = np.where(np.indices((40, 50)).sum(axis=0)[:, :, None] // 5 % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    for size in ((17, 23), (90, 110)):
        expected = by_pillow(image, size, resample)
        np.testing.assert_array_equal(resize(image.transpose(2, 0, 1), size, resample), expected)


def test_a_large_reduction_as_pillow():
    image = pixels(3, 700, 1100)
    expected = by_pillow(image, (24, 30), "bicubic")
    np.testing.assert_array_equal(resize(image.transpose(2, 0, 1), (24, 30), "bicubic"), expected)


@pytest.mark.parametrize("resample", RESAMPLES)
@given(data=st.data(), shape=st.tuples(EDGES, EDGES), size=st.tuples(EDGES, EDGES))
def test_a_window_is_that_part_of_the_whole(resample, data, shape, size):
    def part(edge):
        start = data.draw(st.integers(0, edge - 1))
        return range(start, data.draw(st.integers(start + 1, edge)))

    planes = pixels(1, *shape).transpose(2, 0, 1)
    rows, columns = part(size[0]), part(size[1])
    whole = resize(planes, size, resample)
    found = resize(planes, size, resample, (rows, columns))
    np.testing.assert_array_equal(found, whole[:, rows.start : rows.stop, columns.start : columns.stop])


def test_a_window_keeps_a_huge_result_small():
    planes = pixels(1, 1, 4000).transpose(2, 0, 1)
    found = resize(planes, (224, 896_000), "bicubic", (range(224), range(400_000, 400_224)))
    assert found.shape == (3, 224, 224)
