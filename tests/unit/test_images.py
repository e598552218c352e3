"""From images to pixel values, and what is refused on the way."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.errors import InputError, RecordError
from edgekit.runtime import images
from edgekit.runtime.images import ImageEncoder, check_image
from edgekit.spec.reader import Table
from edgekit.spec.settings.image import (
    Crop,
    ImageSettings,
    Normalize,
    Pad,
    Rescale,
    Resize,
    ResizeShortest,
    SwapChannels,
)

STEPS = (
    ResizeShortest(24, 0, "bicubic"),
    Crop(20, 20),
    Rescale(1 / 255, 0.0),
    Normalize((0.48, 0.45, 0.4), (0.26, 0.27, 0.28)),
)


def grey(height, width, value=7):
    return np.full((height, width, 3), value, dtype=np.uint8)


def encode(image, *steps):
    return ImageEncoder(ImageSettings(steps)).batch([image])[0]


def test_values_become_what_float32_arithmetic_says():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    found = encode(image, *STEPS[1:])
    expected = ((image * (1 / 255)).astype(np.float32) - np.float32([0.48, 0.45, 0.4])) / np.float32([0.26, 0.27, 0.28])
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))
    assert found.dtype == np.float32


def test_an_offset_is_added_after_the_factor():
    assert encode(grey(2, 2, 255), Crop(2, 2), Rescale(2 / 255, -1.0)).max() == 1.0


def test_swapped_channels_keep_the_numbers_of_their_place():
    image = np.zeros((1, 1, 3), dtype=np.uint8)
    image[0, 0] = 10, 20, 30
    assert encode(image, Crop(1, 1), SwapChannels())[:, 0, 0].tolist() == [30, 20, 10]
    late = encode(image, Crop(1, 1), Normalize((10.0, 0.0, 0.0), (1.0, 1.0, 1.0)), SwapChannels())
    assert late[:, 0, 0].tolist() == [30, 20, 0]
    early = encode(image, Crop(1, 1), SwapChannels(), Normalize((10.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert early[:, 0, 0].tolist() == [20, 20, 10]


def test_a_crop_takes_the_centre_and_surrounds_with_zeros():
    image = np.arange(1, 7, dtype=np.uint8)[:, None, None].repeat(2, axis=1).repeat(3, axis=2)  # 6 x 2
    found = encode(image, Crop(3, 5))
    assert found[0].tolist() == [[0, 0, value, value, 0] for value in (2, 3, 4)]


def test_padding_goes_below_and_to_the_right_and_stays_zero():
    found = encode(grey(2, 3), Crop(2, 3), Normalize((1.0,) * 3, (1.0,) * 3), Pad(3, 4))
    assert found[1].tolist() == [[6, 6, 6, 0], [6, 6, 6, 0], [0, 0, 0, 0]]


def test_a_batch_holds_images_of_any_sizes():
    sizes = [(1, 300), (300, 1), (5, 5), (24, 24), (61, 83)]
    batch = ImageEncoder(ImageSettings(STEPS)).batch([grey(*size) for size in sizes])
    assert batch.shape == (5, 3, 20, 20)
    # Nothing but the one grey value: no border shows where the crop took its part.
    assert np.ptp(batch, axis=(2, 3)).max() < 0.02


@example(height=1, width=6, edge=3, longest=5)  # 1 is the rounded shorter edge, so that nothing is resized
@given(height=st.integers(1, 400), width=st.integers(1, 400), edge=st.integers(1, 40), longest=st.integers(1, 60))
def test_a_longest_edge_is_never_passed(height, width, edge, longest):
    steps = (ResizeShortest(edge, longest, "nearest"), Pad(longest, longest))
    try:
        found = encode(grey(height, width), *steps)
    except InputError as error:
        assert "too long and thin" in error.message
    else:
        assert found.shape == (3, longest, longest)


def test_an_image_too_long_and_thin_is_refused():
    with pytest.raises(InputError, match="too long and thin"):
        encode(grey(1, 60_000), *STEPS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3, 4]], "expected a numpy array, got list"),
        (np.zeros((4, 4, 3), dtype=np.float32), "expected an array of uint8, got float32"),
        (np.zeros((4, 4, 3), dtype=bool), "expected an array of uint8, got bool"),
        (np.zeros((3, 4, 4), dtype=np.uint8), "expected shape .height, width, 3. or .height, width., got .3, 4, 4."),
        (np.zeros((4, 4, 4), dtype=np.uint8), "expected shape"),
        (np.zeros((1, 4, 4, 3), dtype=np.uint8), "expected shape"),
        (np.zeros(4, dtype=np.uint8), "expected shape"),
        (np.zeros((), dtype=np.uint8), "expected shape"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "has no pixels"),
        (np.zeros((4, 0), dtype=np.uint8), "has no pixels"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "is more than 89478485 pixels"),
    ],
)
def test_what_is_no_image_is_refused(value, message):
    with pytest.raises(InputError, match=f"image 3: .*{message}"):
        check_image(value, "image 3")


def test_hints_say_what_to_do():
    with pytest.raises(InputError) as caught:
        check_image(np.zeros((3, 4, 4), dtype=np.uint8))
    assert "transpose(1, 2, 0)" in caught.value.hint
    with pytest.raises(InputError) as caught:
        check_image(np.zeros((4, 4, 3)))
    assert "astype(numpy.uint8)" in caught.value.hint


def test_a_grey_image_becomes_three_equal_channels():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert (check_image(image) == image[:, :, None]).all()
    assert check_image(image).shape == (2, 3, 3)


def test_settings_come_back_as_they_were_written():
    steps = (*STEPS[:2], Resize(30, 31, "lanczos"), *STEPS[2:], SwapChannels(), Pad(40, 40))
    written = ImageSettings(steps).to_json()
    assert ImageSettings.read(Table(written, "edgekit.json: image")) == ImageSettings(steps)
    assert ImageSettings(steps).size == (40, 40)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "leaves height and width open"),
        ([{"do": "swap_channels"}], "leaves height and width open"),
        ([{"do": "resize_shortest", "edge": 4, "longest": 0, "resample": "box"}], "leaves height and width open"),
        ([{"do": "swap_channels"}, {"do": "crop", "height": 1, "width": 1}], "stand before those that change"),
        ([{"do": "crop", "height": 0, "width": 1}], r"steps\[0\]: height: 0 is outside"),
        ([{"do": "crop", "height": 10**6, "width": 1}], r"steps\[0\]: height: 1000000 is outside"),
        ([{"do": "crop", "height": 1, "width": 1, "top": 3}], "unknown key 'top'"),
        ([{"do": "blur"}], "'blur' is not one of"),
        ([{"do": "resize", "height": 1, "width": 1, "resample": "hamming"}], "'hamming' is not one of"),
        ([{"do": "normalize", "mean": [0, 0], "std": [1, 1, 1]}], "mean: expected 3 numbers"),
        ([{"do": "normalize", "mean": [0, 0, 0], "std": [1, 0, 1]}], "std: 1: 0 is outside"),
        ([{"do": "rescale", "factor": "1/255", "offset": 0}], "factor: expected a finite number"),
        ([{"do": "crop", "height": 9, "width": 9}, {"do": "pad", "height": 9, "width": 8}], "pad to 9x8 is smaller"),
        (
            [
                {"do": "resize_shortest", "edge": 4, "longest": 0, "resample": "box"},
                {"do": "resize", "height": 4, "width": 4, "resample": "box"},
            ],
            "must be followed by a crop",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(steps, message):
    with pytest.raises(RecordError, match=message):
        ImageSettings.read(Table({"steps": steps}, "edgekit.json: image"))


def test_the_limit_of_pixels_is_pillows():
    assert pytest.importorskip("PIL.Image").MAX_IMAGE_PIXELS == images.MAX_PIXELS
