"""Images against texts: two encoders, trained so that a matching pair has vectors of one direction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS
from edgekit.runtime.image_input import images_of
from edgekit.runtime.zero_shot_image import TEMPLATE
from edgekit.spec.settings.contrast import ContrastSettings
from edgekit.spec.settings.image import ImageSettings
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import synthetic_images, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.families.vision import PIXELS, pixel_axes, sample_pixels
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.image_data import read_image
from edgekit.stages.image_processor import image_settings, load_processor, processed
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line, quiet
from edgekit.stages.reference import Case, Feeds, Reference, load_model

IMAGE: Final = "image_embeds"
TEXT: Final = "text_embeds"
SIGLIP_TOKENS: Final = 64  # what SigLIP was trained with, and what transformers' pipeline pads to
MOST_LABELS: Final = 256

_FORMULA_DISTANCE: Final = 1e-3  # of logits, which are in the tens
_SAMPLES: Final = ("a photo of a cat", "a drawing of two dogs in the snow", "noise")


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a model of the CLIP kind, with its processor and tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The processor or the tokenizer cannot run on a device, or pairs are scored in another way.
    """
    folder = without_pickles(checkpoint.folder, work)
    processor = load_processor(folder)
    images = image_settings(processor)
    model = load_model(folder, task)
    words = tokenizer.load_tokenizer(folder)
    siglip = "siglip" in model.config.model_type
    scale, bias = _scale(model)
    reference = ContrastReference(
        task=task,
        model=model,
        processor=processor,
        tokenizer=words,
        images=images,
        contrast=ContrastSettings(
            image=IMAGE,
            text=TEXT,
            dimension=_dimension(model, images),
            scale=scale,
            bias=bias,
            activation="sigmoid" if siglip else "softmax",
            text_length=SIGLIP_TOKENS if siglip else 0,
        ),
        max_length=min(tokenizer.max_length(words, model.config.text_config), SIGLIP_TOKENS if siglip else 1 << 24),
        tokenizer_json=tokenizer.tokenizer_json(words, checkpoint.folder),
    )
    reference.check_formula()
    return reference


@dataclass(frozen=True, slots=True)
class ContrastReference(Reference):
    """A loaded model of the CLIP kind."""

    columns: ClassVar[tuple[str, ...]] = ("image", "label")

    task: str
    model: Any
    processor: Any
    tokenizer: Any
    images: ImageSettings
    contrast: ContrastSettings
    max_length: int
    tokenizer_json: bytes

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The model's own logits of each image with its labels, as the runtime names them."""
        import torch

        name = RAW_KINDS[self.contrast.activation]
        pixels = images_of(inputs)
        rows: list[Raw] = []
        with torch.inference_mode(), quiet():
            while len(rows) < len(inputs):
                start = len(rows)
                texts = _texts(inputs[start])
                stop = start + 1
                while stop < len(inputs) and stop - start < batch_size and _texts(inputs[stop]) == texts:
                    stop += 1
                values = torch.from_numpy(processed(self.processor, pixels[start:stop]))
                logits = self.model(**{PIXELS: values}, **self._tokens(texts)).logits_per_image
                rows += [{name: row} for row in logits.numpy().astype(np.float32)]
        return rows

    def parts(self) -> Mapping[str, Part]:
        """Both encoders, up to their vectors."""
        from edgekit.stages.families.contrast_modules import ImageEncoder, TextEncoder  # brings torch

        tokens = self._tokens(_SAMPLES)
        sequence = self.contrast.text_length or "sequence"
        text_axes: dict[str, tuple[str | int, ...]] = dict.fromkeys(tokens, ("batch", sequence))
        return {
            "image": Part(
                ImageEncoder(self.model),
                {PIXELS: sample_pixels(self.images)},
                (IMAGE,),
                {PIXELS: pixel_axes(self.images), IMAGE: ("batch",)},
            ),
            "text": Part(TextEncoder(self.model), tokens, (TEXT,), {**text_axes, TEXT: ("batch",)}),
        }

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Image, text, and how their vectors meet."""
        text = TextSettings(
            tokenizer=f"{assets}/{tokenizer.FILE}",
            max_length=self.max_length,
            pad_id=int(self.tokenizer.pad_token_id or 0),
            pad_type_id=int(self.tokenizer.pad_token_type_id),
        )
        return (self.images, text, self.contrast)

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {tokenizer.FILE: self.tokenizer_json}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """An image a row; the candidates are all labels of the data, or those the row names itself."""
        known = sorted({row["label"] for row in rows})[:MOST_LABELS]
        name = RAW_KINDS[self.contrast.activation]
        cases = []
        for row in rows:
            labels = _candidates(row, known)
            known_truth = name == "logits" and not synthetic_images.is_synthetic(row["image"])
            truth = {name: np.array([labels.index(row["label"])])} if known_truth else {}
            image = read_image(row["image"], self.images.size)
            cases.append(Case({"image": image, "candidate_labels": labels}, truth=truth))
        return cases

    def builtin(self) -> Dataset:
        """Synthetic images, on which nothing can be proven."""
        return synthetic_images.dataset()

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """Images and distinct texts, each by itself."""
        texts = dict.fromkeys(text for item in inputs for text in _texts(item))
        return {
            "image": [{PIXELS: processed(self.processor, [image])} for image in images_of(inputs)],
            "text": [{name: tensor.numpy() for name, tensor in self._tokens([text]).items()} for text in texts],
        }

    def check_formula(self) -> None:
        """Refuse a model whose score of a pair is not what the device will compute.

        Raises:
            ExportError: Naming how far off that is.
        """
        import torch

        from edgekit.stages.families.contrast_modules import ImageEncoder, TextEncoder  # brings torch

        pixels, tokens = sample_pixels(self.images), self._tokens(_SAMPLES)
        with torch.inference_mode(), quiet():
            try:
                expected = self.model(**{PIXELS: pixels}, **tokens).logits_per_image.numpy()
                vectors = (
                    ImageEncoder(self.model)(pixels)[IMAGE].numpy(),
                    TextEncoder(self.model)(**tokens)[TEXT].numpy(),
                )
            except (AttributeError, RuntimeError, TypeError, ValueError) as error:
                raise ExportError(
                    f"{type(self.model).__name__}: cannot be asked like CLIP: {first_line(error)}"
                ) from error
        found = _unit(vectors[0]) @ _unit(vectors[1]).T * self.contrast.scale + self.contrast.bias
        distance = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
        if not distance <= _FORMULA_DISTANCE * max(1.0, abs(self.contrast.scale)):
            raise ExportError(
                f"{type(self.model).__name__}: its scores are {distance:.2g} from scale times cosine plus bias",
                hint="bundles carry models that score pairs as CLIP and SigLIP do",
            )

    def _tokens(self, texts: Sequence[str]) -> dict[str, Any]:
        fixed = self.contrast.text_length
        batch = self.tokenizer(
            list(texts),
            padding="max_length" if fixed else True,
            truncation=True,
            max_length=fixed or self.max_length,
            return_tensors="pt",
        )
        return dict(batch)


def _texts(item: Input) -> list[str]:
    template = item.get("hypothesis_template", TEMPLATE)
    return [template.format(label) for label in item["candidate_labels"]]


def _candidates(row: Row, known: list[str]) -> list[str]:
    if "candidate_labels" not in row:
        labels = known
    else:
        try:
            labels = json.loads(row["candidate_labels"])
        except ValueError as error:
            raise DataError(
                f"candidate_labels: expected a list in JSON, got {row['candidate_labels'][:80]!r}"
            ) from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError("candidate_labels: expected a list of texts")
    if row["label"] not in labels:
        raise DataError(
            f"label {row['label']!r} is none of its candidates", hint=f"at most {MOST_LABELS} labels are compared"
        )
    return labels


def _scale(model: Any) -> tuple[float, float]:
    if not hasattr(model, "logit_scale"):
        raise ExportError(f"{type(model).__name__}: has no logit_scale; bundles carry models of the CLIP kind")
    bias = getattr(model, "logit_bias", None)
    return float(model.logit_scale.detach().exp()), float(bias.detach()) if bias is not None else 0.0


def _dimension(model: Any, images: ImageSettings) -> int:
    import torch

    from edgekit.stages.families.contrast_modules import ImageEncoder  # brings torch

    with torch.inference_mode(), quiet():
        try:
            return int(ImageEncoder(model)(sample_pixels(images))[IMAGE].shape[1])
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ExportError(
                f"{type(model).__name__}: cannot be asked like CLIP: {first_line(error)}",
                hint="the processor's size must be the model's",
            ) from error


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
