"""Images of the user's data, small enough to be kept in memory and in golden cases."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgekit.errors import DataError, EdgekitError
from edgekit.runtime.image_files import to_pixels
from edgekit.runtime.resample import Pixels
from edgekit.stages import synthetic_images

ROOM: Final = 1.25  # the shorter edge is at most this many times the model's longer one
_ENDS_WELL: Final = 4  # a longer edge of more than this many times the shorter one stays as it is


def read_image(path: str, size: tuple[int, int]) -> Pixels:
    """An image to ask a model about.

    A photo is shrunk until it is a quarter larger than what the model looks at: the device's resize is proved against
    the processor's by itself, and 800 photos would fill the memory.

    Args:
        path: The file, or the name of a synthetic image.
        size: Height and width of what the model looks at, in pixels.

    Raises:
        DataError: It is no image.
    """
    if synthetic_images.is_synthetic(path):
        return synthetic_images.picture(path)
    try:
        pixels = to_pixels(path, "image")
    except EdgekitError as error:
        raise DataError(error.message, hint=error.hint or "check the column 'image' of the data") from error
    height, width = pixels.shape[:2]
    share = ROOM * max(size) / min(height, width)
    if share >= 1 or max(height, width) > _ENDS_WELL * min(height, width):
        return pixels
    from PIL import Image  # only large images need it

    smaller = (round(width * share), round(height * share))
    return np.array(Image.fromarray(pixels).resize(smaller, Image.Resampling.BICUBIC, reducing_gap=2.0))
