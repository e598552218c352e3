"""The one border to Pillow: from an image file to an array of pixels. Arrays need no Pillow."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import EdgekitError, HostError, InputError
from edgekit.runtime.images import MAX_PIXELS, check_image
from edgekit.runtime.resample import Pixels

if TYPE_CHECKING:
    from PIL import Image


def to_pixels(value: Any, name: str = "image") -> Pixels:
    """The pixels of whatever is an image.

    Args:
        value: An array as :func:`~edgekit.runtime.images.check_image` takes it; a path or the bytes of an image
            file; or an image that Pillow opened. Files are turned upright by their EXIF orientation and converted to
            RGB (transparency is dropped, palettes are looked up), as ``transformers.image_utils.load_image`` does it.
        name: What to call it in errors.

    Returns:
        (height, width, 3).

    Raises:
        InputError: It is no image, damaged, empty or too large.
        HostError: It is a file, and Pillow is not installed.
    """
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str) and text.startswith(("http://", "https://", "data:")):
            raise InputError(f"{name}: expected a file, got a URL", hint="download it first; a device opens files only")
        return _read(Path(os.fsdecode(text)), name)
    if isinstance(value, bytes | bytearray | memoryview):
        return _read(io.BytesIO(value), name)
    pillow = sys.modules.get("PIL.Image")  # whoever holds one of its images has imported it
    if pillow is not None and isinstance(value, pillow.Image):
        return _pixels(value, name)
    if isinstance(value, np.ndarray):
        return check_image(value, name)
    raise InputError(
        f"{name}: expected a path, an image file's bytes, a Pillow image or a numpy array, got {type(value).__name__}"
    )


def _read(source: Path | io.BytesIO, name: str) -> Pixels:
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{name}: {source}: no such file")
    try:
        from PIL import Image  # only files need it
    except ImportError as error:
        raise HostError(
            f"{name}: opening image files needs Pillow, which is not installed",
            hint="pip install 'edgekit[image]', or give numpy arrays",
        ) from error
    shown = f"{name}: {source}" if isinstance(source, Path) else name
    try:
        with Image.open(source) as image:
            return _pixels(image, shown)
    except EdgekitError:
        raise
    except Exception as error:
        # Its decoders raise what they like: OSError, SyntaxError, ValueError, struct.error, and bombs of their own.
        raise InputError(f"{shown}: not an image Pillow can read: {_reason(error)}") from error


def _pixels(image: Image.Image, name: str) -> Pixels:
    from PIL import ImageOps

    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{name}: {height}x{width} is more than {MAX_PIXELS} pixels")
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        raise InputError(f"{name}: cannot be decoded: {_reason(error)}") from error
    return check_image(np.array(upright), name)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
