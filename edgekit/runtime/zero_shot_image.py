"""Classify images by labels that are only known when asking: one encoder for images, one for texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS, activate, best_labels
from edgekit.runtime.image_input import ImageInput, images_of, read_images
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.resample import Pixels
from edgekit.runtime.text import TextEncoder, check_inputs, equal_lengths
from edgekit.spec.settings.contrast import ContrastSettings
from edgekit.spec.settings.image import ImageSettings
from edgekit.spec.settings.text import TextSettings

TEMPLATE: Final = "This is a photo of {}."
TEXT_BATCH: Final = 16

Floats = npt.NDArray[np.float32]


class ZeroShotImageClassifier(Model):
    """An open bundle that says which of some texts fits an image best.

    Attributes:
        dimension: Length of the vectors that images and texts become.
        max_length: Tokens of a text that are looked at, special ones included.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(ContrastSettings)
        self._words = opened.section(TextSettings)
        self.dimension = self._settings.dimension
        self.max_length = self._words.max_length
        components = self.manifest.components
        check_inputs(components["text"].inputs)
        self._images = ImageInput(opened.section(ImageSettings), components["image"].inputs)
        self._text = TextEncoder(opened.read(self._words.tokenizer), self._words)
        self._image_session = opened.session("image")
        self._text_session = opened.session("text")
        self._known: tuple[tuple[str, ...], Floats] | None = None

    def __call__(
        self,
        images: Any,
        *,
        candidate_labels: Sequence[str] = (),
        hypothesis_template: str = TEMPLATE,
        batch_size: int = 1,
    ) -> list[Any]:
        """Labels with scores, the best first.

        The vectors of the last labels are kept: asking again about the same ones runs the image encoder alone.

        Args:
            images: An image, or a list of images: paths, the bytes of image files, Pillow images, or uint8 arrays
                (height, width, 3) or (height, width).
            candidate_labels: At least one.
            hypothesis_template: What the text encoder reads, with ``{}`` in the label's place.
            batch_size: Images run at once, at most.

        Returns:
            ``[{"score": float, "label": str}, …]`` for an image; a list of those for a list.

        Raises:
            InputError: An item is no image, or a label no text; the message has its index.
            UsageError: ``batch_size`` makes no sense, or the model is closed.
            HostError: ONNX Runtime failed, or Pillow is needed and not installed.
        """
        pixels, single = read_images(images)
        labels = _labels(candidate_labels)
        logits = self._logits(pixels, labels, hypothesis_template, batch_size)
        answers = [best_labels(row, labels, None) for row in activate(logits, self._settings.activation)]
        return answers[0] if single else answers

    def embed_images(self, images: Any, *, batch_size: int = 1) -> Floats:
        """Vectors of unit length, (images, dimension), or (dimension,) for a single image; see :meth:`__call__`."""
        pixels, single = read_images(images)
        vectors = self._image_vectors(pixels, batch_size)
        return np.asarray(vectors[0]) if single else vectors

    def embed_texts(self, texts: str | Sequence[str]) -> Floats:
        """Vectors of unit length, (texts, dimension), or (dimension,) for a single text; no template is put around it.

        Raises:
            InputError: An item is no text; the message has its index.
            UsageError: The model is closed.
            HostError: ONNX Runtime failed.
        """
        if isinstance(texts, str):
            return np.asarray(self._text_vectors((texts,))[0])
        return self._text_vectors(tuple(texts))

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (labels,)}``, or ``flags`` where each label stands for itself.

        Each input is ``{"image": uint8 (h, w, 3), "candidate_labels": [str, …], "hypothesis_template": str}``, the
        last one optional; inputs that follow each other with the same labels share their batches.
        """
        name = RAW_KINDS[self._settings.activation]
        pixels = images_of(inputs)
        asked = [
            (tuple(_labels(item.get("candidate_labels"))), item.get("hypothesis_template", TEMPLATE)) for item in inputs
        ]
        rows: list[Raw] = []
        while len(rows) < len(inputs):
            start = len(rows)
            stop = next((end for end in range(start, len(inputs)) if asked[end] != asked[start]), len(inputs))
            logits = self._logits(pixels[start:stop], *asked[start], batch_size)
            rows += [{name: row} for row in logits]
        return rows

    def _logits(self, images: Sequence[Pixels], labels: Sequence[str], template: str, batch_size: int) -> Floats:
        texts = tuple(_filled(template, label) for label in labels)
        known = self._known  # read once: another thread may replace it
        if known is None or known[0] != texts:
            known = (texts, self._text_vectors(texts))
            self._known = known
        products = self._image_vectors(images, batch_size) @ known[1].T
        return np.asarray(products * np.float32(self._settings.scale) + np.float32(self._settings.bias), np.float32)

    def _image_vectors(self, images: Sequence[Pixels], batch_size: int) -> Floats:
        batches = self._images.run(self._image_session, images, batch_size)
        vectors = [self._unit(outputs[self._settings.image], "image") for outputs in batches]
        return np.concatenate(vectors) if vectors else np.empty((0, self.dimension), np.float32)

    def _text_vectors(self, texts: tuple[str, ...]) -> Floats:
        ids = self._text.encode(texts)
        vectors = np.empty((len(ids), self.dimension), np.float32)
        for batch in equal_lengths(ids, TEXT_BATCH):
            feeds = self._padded(self._text.batch([ids[row] for row in batch], self._text_session.inputs))
            vectors[batch] = self._unit(self._text_session.run(feeds)[self._settings.text], "text")
        return vectors

    def _padded(self, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Texts padded to the length the text encoder was trained with, where it needs one."""
        fill = {"input_ids": self._words.pad_id, "attention_mask": 0, "token_type_ids": self._words.pad_type_id}
        made = {}
        for name, rows in feeds.items():
            missing = max(0, self._settings.text_length - rows.shape[1])
            made[name] = np.pad(rows, ((0, 0), (0, missing)), constant_values=fill[name]) if missing else rows
        return made

    def _unit(self, vectors: npt.NDArray[Any], component: str) -> Floats:
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise IntegrityError(
                f"{self.variant.graph_path(component)}: makes vectors of shape {vectors.shape}, "
                f"expected (batch, {self.dimension})"
            )
        vectors = vectors.astype(np.float32, copy=False)
        lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), np.float32)


def _labels(labels: Any) -> list[str]:
    if isinstance(labels, str) or not isinstance(labels, Sequence) or not labels:
        raise InputError("candidate_labels: expected a list of at least one text")
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise InputError(f"candidate_labels: label {index}: expected a str, got {type(label).__name__}")
    return list(labels)


def _filled(template: Any, label: str) -> str:
    if not isinstance(template, str):
        raise InputError(f"hypothesis_template: expected a str, got {type(template).__name__}")
    try:
        return template.format(label)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise InputError(
            f"hypothesis_template {template!r}: cannot be filled in: {error}", hint=f"write it like {TEMPLATE!r}"
        ) from error
