"""Classify and embed images, with results as ``transformers.pipeline`` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS, activate, best_labels
from edgekit.runtime.image_input import ImageInput, images_of, read_images
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.resample import Pixels
from edgekit.spec.settings.features import FeatureSettings
from edgekit.spec.settings.image import ImageSettings
from edgekit.spec.settings.labels import ACTIVATIONS, LabelSettings

_SPATIAL = 4  # dimensions of a convolutional network's states


class ImageClassifier(Model):
    """An open bundle that labels images.

    Attributes:
        labels: Their names, in the order of the logits.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(LabelSettings)
        self.labels = self._settings.labels
        self._images = ImageInput(opened.section(ImageSettings), self.manifest.components["model"].inputs)
        self._session = opened.session()

    def __call__(
        self, images: Any, *, top_k: int | None = 5, function_to_apply: str | None = None, batch_size: int = 1
    ) -> list[Any]:
        """Labels with scores.

        Args:
            images: An image, or a list of images: paths, the bytes of image files, Pillow images, or uint8 arrays
                (height, width, 3) or (height, width).
            top_k: Labels for each image, the most likely first; None gives all.
            function_to_apply: ``softmax``, ``sigmoid`` or ``none``; the model's own where None.
            batch_size: Images run at once, at most.

        Returns:
            ``[{"label": str, "score": float}, …]`` for an image; a list of those for a list.

        Raises:
            InputError: An item is no image; the message has its index.
            UsageError: ``function_to_apply``, ``top_k`` or ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed, or Pillow is needed and not installed.
        """
        activation = function_to_apply or self._settings.activation
        if activation not in ACTIVATIONS:
            raise UsageError(f"function_to_apply {activation!r}: expected {', '.join(ACTIVATIONS)}")
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k {top_k}: expected at least 1, or None for all")
        pixels, single = read_images(images)
        scores = activate(self._logits(pixels, batch_size), activation)
        answers = [best_labels(row, self.labels, top_k) for row in scores]
        return answers[0] if single else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,)}`` for ``{"image": uint8 (h, w, 3)}``; ``flags`` or ``value`` by the activation."""
        name = RAW_KINDS[self._settings.activation]
        return [{name: row} for row in self._logits(images_of(inputs), batch_size)]

    def _logits(self, images: Sequence[Pixels], batch_size: int) -> npt.NDArray[np.float32]:
        rows = [
            np.asarray(outputs[self._settings.output], dtype=np.float32)
            for outputs in self._images.run(self._session, images, batch_size)
        ]
        logits = np.concatenate(rows) if rows else np.empty((0, len(self.labels)), np.float32)
        if logits.shape != (len(images), len(self.labels)):
            raise IntegrityError(
                f"{self.variant.graph_path('model')}: {self._settings.output} has shape {logits.shape}, "
                f"expected {(len(images), len(self.labels))}"
            )
        return logits


class ImageEmbedder(Model):
    """An open bundle that turns images into vectors.

    Attributes:
        dimension: Length of a vector.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(FeatureSettings)
        self.dimension = self._settings.dimension
        self._images = ImageInput(opened.section(ImageSettings), self.manifest.components["model"].inputs)
        self._session = opened.session()

    def __call__(self, images: Any, *, pool: bool = False, batch_size: int = 1) -> list[Any]:
        """Features as ``transformers.pipeline("image-feature-extraction")`` gives them.

        Args:
            images: As :meth:`ImageClassifier.__call__` takes them.
            pool: Whether to give the pooler's vector instead of the last hidden states.
            batch_size: Images run at once, at most.

        Returns:
            For an image the model's output as nested lists, with a leading dimension of 1: (1, patches, dimension),
            (1, channels, rows, columns), or with ``pool`` (1, dimension); for a list of images a list of them.

        Raises:
            InputError: An item is no image; the message has its index.
            UsageError: The model has no pooler, ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed, or Pillow is needed and not installed.
        """
        if pool and not self._settings.pooled:
            raise UsageError("pool: the model has no pooler", hint="embed() gives the mean of the hidden states")
        pixels, single = read_images(images)
        name = self._settings.pooled if pool else self._settings.states
        answers: list[Any] = [
            [row] for outputs in self._images.run(self._session, pixels, batch_size) for row in outputs[name].tolist()
        ]
        return list(answers[0]) if single else answers

    def embed(self, images: Any, *, batch_size: int = 1) -> npt.NDArray[np.float32]:
        """One vector for each image: the pooler's, or the mean of the last hidden states where there is none.

        Args:
            images: As :meth:`ImageClassifier.__call__` takes them.
            batch_size: Images run at once, at most.

        Returns:
            (images, dimension), or (dimension,) for a single image.

        Raises:
            InputError: An item is no image; the message has its index.
            UsageError: ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed, or Pillow is needed and not installed.
        """
        pixels, single = read_images(images)
        vectors = self._vectors(pixels, batch_size)
        return np.asarray(vectors[0]) if single else vectors

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"embedding": (dimension,)}`` for ``{"image": uint8 (h, w, 3)}``; see :meth:`Model.raw`."""
        return [{"embedding": vector} for vector in self._vectors(images_of(inputs), batch_size)]

    def _vectors(self, images: Sequence[Pixels], batch_size: int) -> npt.NDArray[np.float32]:
        name = self._settings.pooled or self._settings.states
        vectors = [
            one_vector(outputs[name], pooled=bool(self._settings.pooled))
            for outputs in self._images.run(self._session, images, batch_size)
        ]
        joined = np.concatenate(vectors) if vectors else np.empty((0, self.dimension), np.float32)
        if joined.shape != (len(images), self.dimension):
            raise IntegrityError(
                f"{self.variant.graph_path('model')}: {name} makes vectors of shape {joined.shape}, "
                f"expected {(len(images), self.dimension)}"
            )
        return joined


def one_vector(output: npt.NDArray[Any], *, pooled: bool) -> npt.NDArray[np.float32]:
    """A vector for each image of a batch, from the pooler's output or from hidden states.

    Args:
        output: (batch, …); states are (batch, patches, dimension) or (batch, dimension, rows, columns).
        pooled: Whether it is the pooler's, which then only loses dimensions of size 1.

    Returns:
        (batch, dimension).
    """
    if pooled:
        return output.reshape(len(output), -1).astype(np.float32, copy=False)
    axes = (2, 3) if output.ndim == _SPATIAL else 1
    return np.asarray(output.mean(axis=axes, dtype=np.float64), dtype=np.float32)
