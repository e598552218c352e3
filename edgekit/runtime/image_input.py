"""Images as a component's input: what is asked becomes pixels, pixels become batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.errors import HostError, InputError, UsageError
from edgekit.runtime.image_files import to_pixels
from edgekit.runtime.images import ImageEncoder, check_image
from edgekit.runtime.resample import Pixels
from edgekit.runtime.session import Session
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.image import CHANNELS, ImageSettings


class ImageInput:
    """Feeds a component that takes pixel values and nothing else.

    Args:
        settings: The manifest's.
        inputs: The component's.

    Raises:
        HostError: It takes something else.
    """

    def __init__(self, settings: ImageSettings, inputs: Sequence[Tensor]) -> None:
        self._encoder = ImageEncoder(settings)
        shape = (CHANNELS, *settings.size)
        for tensor in inputs:
            fits = len(tensor.shape) == len(shape) + 1 and all(
                isinstance(size, str) or size == made for size, made in zip(tensor.shape[1:], shape, strict=True)
            )
            if len(inputs) != 1 or tensor.dtype != "float32" or not fits:
                raise HostError(
                    f"edgekit.json: inputs: {tensor.name} ({tensor.dtype}, {tensor.shape}) is none that this edgekit "
                    f"makes from images of {settings.size[0]}x{settings.size[1]} pixels",
                    hint="it needs a newer edgekit: pip install --upgrade edgekit",
                )

    def run(self, session: Session, images: Sequence[Pixels], batch_size: int) -> Iterator[Mapping[str, Any]]:
        """The component's outputs, batch by batch.

        Args:
            session: The component's.
            images: From :func:`read_images` or :func:`images_of`.
            batch_size: Images run at once, at most.

        Raises:
            UsageError: ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        for start in range(0, len(images), batch_size):
            pixels = self._encoder.batch(images[start : start + batch_size])
            yield session.run({session.inputs[0].name: pixels})


def read_images(images: Any) -> tuple[list[Pixels], bool]:
    """The pixels of one image or of several, and whether it was one.

    Args:
        images: Anything :func:`~edgekit.runtime.image_files.to_pixels` takes, or a list or tuple of them.

    Raises:
        InputError: One is no image; the message has its index.
    """
    if isinstance(images, list | tuple):
        return [to_pixels(image, f"image {index}") for index, image in enumerate(images)], False
    return [to_pixels(images)], True


def images_of(inputs: Sequence[Mapping[str, Any]]) -> list[Pixels]:
    """The field ``image`` of each input, an array of pixels.

    Raises:
        InputError: An input has no such field, or no image in it.
    """
    for index, item in enumerate(inputs):
        if "image" not in item:
            raise InputError(f"input {index}: has no field 'image', only {', '.join(item) or 'none'}")
    return [check_image(item["image"], f"input {index}: image") for index, item in enumerate(inputs)]
