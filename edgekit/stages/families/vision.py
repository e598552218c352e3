"""Images: one label of several, or features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from safetensors import safe_open

from edgekit.errors import ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.classification import RAW_KINDS
from edgekit.runtime.image_input import images_of
from edgekit.runtime.resample import Pixels
from edgekit.runtime.vision import one_vector
from edgekit.spec.settings.features import FeatureSettings
from edgekit.spec.settings.image import CHANNELS, ImageSettings
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import synthetic_images, weight_files
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.families.classification import activation_of, label_names, label_truth
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.image_data import read_image
from edgekit.stages.image_processor import image_settings, load_processor, processed
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line, quiet
from edgekit.stages.reference import Case, Feeds, Reference, load_model

PIXELS: Final = "pixel_values"
LOGITS: Final = "logits"
STATES: Final = "last_hidden_state"
POOLED: Final = "pooler_output"

_POOLER: Final = ("pooler.",)  # a checkpoint of a classifier lacks the pooler, which its features do not need


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load an image classifier or encoder, with its processor.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The processor does something that bundles do not carry, or the model is asked in another way.
    """
    folder = without_pickles(checkpoint.folder, work)
    processor = load_processor(folder)
    settings = image_settings(processor)
    if task == "image-feature-extraction":
        return _load_features(folder, processor, settings)
    model = load_model(folder, task)
    return ImageClassificationReference(
        task, model, processor, settings, label_names(model.config), activation_of(model.config)
    )


@dataclass(frozen=True, slots=True)
class ImageReference(Reference):
    """What a classifier and an encoder of images have in common."""

    columns: ClassVar[tuple[str, ...]] = ("image",)

    task: str
    model: Any
    processor: Any
    settings: ImageSettings

    def assets(self) -> Mapping[str, bytes]:
        """None: the processor is in the settings."""
        return {}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """An image a row."""
        return [Case({"image": read_image(row["image"], self.settings.size)}) for row in rows]

    def builtin(self) -> Dataset:
        """Synthetic images, on which nothing can be proven."""
        return synthetic_images.dataset()

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """The model's input."""
        return {"model": [{PIXELS: processed(self.processor, [image])} for image in images_of(inputs)]}


@dataclass(frozen=True, slots=True)
class ImageClassificationReference(ImageReference):
    """A loaded image classifier."""

    labels: tuple[str, ...]
    activation: str

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits, as the runtime names them for the activation."""
        name = RAW_KINDS[self.activation]
        batches = ask(self.model, self.processor, images_of(inputs), batch_size)
        return [{name: row} for outputs in batches for row in outputs[LOGITS].numpy().astype(np.float32)]

    def parts(self) -> Mapping[str, Part]:
        """The whole model."""
        return {"model": _part(self.model, self.settings, (LOGITS,))}

    def sections(self, assets: str) -> tuple[Section, ...]:  # noqa: ARG002 - no assets
        """Image and labels."""
        return (self.settings, LabelSettings(LOGITS, self.labels, self.activation))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """An image a row, with its right label where the row has one."""
        return [
            Case(
                {"image": read_image(row["image"], self.settings.size)},
                truth={}
                if synthetic_images.is_synthetic(row["image"])
                else dict(label_truth(row, self.labels, self.activation)),
            )
            for row in rows
        ]


@dataclass(frozen=True, slots=True)
class ImageFeatureReference(ImageReference):
    """A loaded image encoder."""

    features: FeatureSettings

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The vector that stands for an image."""
        name = self.features.pooled or self.features.states
        batches = ask(self.model, self.processor, images_of(inputs), batch_size)
        pooled = bool(self.features.pooled)
        return [
            {"embedding": vector}
            for outputs in batches
            for vector in one_vector(outputs[name].numpy().astype(np.float32), pooled=pooled)
        ]

    def parts(self) -> Mapping[str, Part]:
        """The whole model."""
        return {"model": _part(self.model, self.settings, self.features.outputs())}

    def sections(self, assets: str) -> tuple[Section, ...]:  # noqa: ARG002 - no assets
        """Image and features."""
        return (self.settings, self.features)


def _load_features(folder: Path, processor: Any, settings: ImageSettings) -> Reference:
    model = load_model(folder, "feature-extraction", unused=_POOLER)
    if not _stores_pooler(folder) and any(name.startswith(_POOLER) for name, _ in model.named_parameters()):
        model.pooler = None  # it would be at its random start
    outputs = ask(model, processor, [np.zeros((*settings.size, CHANNELS), np.uint8)], 1)[0]
    if outputs.get(STATES) is None:
        raise ExportError(
            f"{type(model).__name__}: has no {STATES}, only {', '.join(outputs)}", hint="its features are not known"
        )
    pooled = POOLED if outputs.get(POOLED) is not None else ""
    dimension = one_vector(outputs[pooled or STATES].numpy(), pooled=bool(pooled)).shape[1]
    features = FeatureSettings(STATES, pooled, dimension)
    return ImageFeatureReference("image-feature-extraction", model, processor, settings, features)


def _stores_pooler(folder: Path) -> bool:
    for path in weight_files.safetensors(folder):
        with safe_open(path, framework="np") as file:
            if any(name.startswith(_POOLER) or ".pooler." in name for name in file.keys()):  # noqa: SIM118 - no mapping
                return True
    return False


def ask(model: Any, processor: Any, images: Sequence[Pixels], batch_size: int) -> list[Any]:
    """A model's outputs for images, batch by batch, as torch tensors by name.

    Raises:
        ExportError: It wants more than pixel values.
    """
    import torch

    batches = []
    with torch.inference_mode(), quiet():
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(processed(processor, images[start : start + batch_size]))
            try:
                batches.append(model(**{PIXELS: pixels}))
            except (RuntimeError, TypeError, ValueError) as error:
                raise ExportError(
                    f"{type(model).__name__}: does not take {tuple(pixels.shape[1:])} pixel values alone: "
                    f"{first_line(error)}",
                    hint="the processor's size must be the model's; models of text and images have tasks of their own",
                ) from error
    return batches


def _part(model: Any, settings: ImageSettings, outputs: tuple[str, ...]) -> Part:
    axes: dict[str, tuple[str | int, ...]] = dict.fromkeys(outputs, ("batch",))
    return Part(model, {PIXELS: sample_pixels(settings)}, outputs, axes | {PIXELS: pixel_axes(settings)})


def pixel_axes(settings: ImageSettings) -> tuple[str | int, ...]:
    """The dimensions of a graph's pixel values: the processor makes one size of every image."""
    return ("batch", CHANNELS, *settings.size)


def sample_pixels(settings: ImageSettings) -> Any:
    """A batch of two for the exporter, float32 (2, 3, height, width)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, CHANNELS, *settings.size), generator=generator)
