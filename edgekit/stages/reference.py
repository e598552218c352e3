"""The reference: the original PyTorch model, in float32, unpatched.

A subclass for each family of tasks, in :mod:`edgekit.stages.families`, says how to ask it and what to export.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.reader import nearest
from edgekit.spec.settings.section import Section
from edgekit.spec.task import MEASURES, SYNONYMS
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.quiet import first_line, quiet

# The module of edgekit.stages.families whose ``load`` makes the reference.
FAMILIES: Final = {
    "audio-classification": "audio",
    "automatic-speech-recognition": "audio",
    "feature-extraction": "embedding",
    "fill-mask": "fill_mask",
    "image-classification": "vision",
    "image-feature-extraction": "vision",
    "question-answering": "question_answering",
    "text-classification": "classification",
    "text-generation": "generation",
    "text-ranking": "text_ranking",
    "text2text-generation": "generation",
    "token-classification": "token_classification",
    "zero-shot-classification": "zero_shot",
    "zero-shot-image-classification": "contrast",
}

Feeds = Mapping[str, npt.NDArray[Any]]
"""A graph's inputs by name."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input the reference and the variants are asked.

    Attributes:
        input: As the runtime takes it.
        size: Its size in tokens (patches, frames), which parity looks at by range; 0 where all are alike.
        truth: The right choice for each row of a raw answer, by its name, int64; -1 where none is known.
    """

    input: Input
    size: int = 0
    truth: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


class Reference(ABC):
    """A loaded reference.

    Attributes:
        task: Hugging Face task name.
        library: Which one answers: ``transformers`` or ``sentence-transformers``.
        columns: What a row of data must have for this task.
    """

    task: str
    library: ClassVar[str] = "transformers"
    columns: ClassVar[tuple[str, ...]] = ("text",)

    @abstractmethod
    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The original's answers, with the names, shapes and meaning of :meth:`edgekit.runtime.Model.raw`."""

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """What to export, by component."""

    @abstractmethod
    def sections(self, assets: str) -> tuple[Section, ...]:
        """Settings of the manifest.

        Args:
            assets: The folder in the bundle where :meth:`assets` will be.
        """

    @abstractmethod
    def assets(self) -> Mapping[str, bytes]:
        """Files that every variant shares, such as ``tokenizer.json``, by name."""

    @abstractmethod
    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """What to ask for rows of data.

        Raises:
            DataError: A row cannot be asked, such as one with an unknown label.
        """

    @abstractmethod
    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """By component, its inputs for each input alone: recipes are calibrated on them."""

    def golden(self, asked: Input) -> Input:
        """What of an input a golden case holds: a part that is answered as well, where the whole would be large."""
        return asked

    def builtin(self) -> Dataset | None:
        """Data to judge on where the user gives none; None where edgekit has none of this kind."""
        return None

    def doubts(self, cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:  # noqa: ARG002 - for subclasses
        """Reasons of the task's own why these answers could prove nothing."""
        return []


def resolve_task(checkpoint: Checkpoint, task: str | None) -> str:
    """The task to export, by optimum's names and synonyms; from the checkpoint where none is given.

    Raises:
        UsageError: The task does not exist, or edgekit does not build bundles for it yet.
    """
    from optimum.exporters.tasks import TasksManager  # brings torch

    if task is None:
        task = checkpoint.card.task if checkpoint.card else _task_of(checkpoint)
    name = SYNONYMS.get(task, task)
    if name not in MEASURES:
        name = TasksManager.map_from_synonym(task)
    known = tuple({**MEASURES, **SYNONYMS, **dict.fromkeys(TasksManager.get_all_tasks())})
    if name not in known:
        raise UsageError(
            f"{task!r} is no task", hint=nearest(task, known) or f"tasks edgekit builds: {', '.join(FAMILIES)}"
        )
    if name not in FAMILIES:
        raise UsageError(
            f"edgekit does not build bundles for {name} yet",
            hint=f"tasks it builds: {', '.join(FAMILIES)}; --task overrides what the checkpoint says",
        )
    return name


def load_reference(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load the model in float32 on the CPU.

    Args:
        checkpoint: From :func:`edgekit.stages.fetch.fetch`.
        task: From :func:`resolve_task`.
        work: A folder for a converted copy, needed for checkpoints of pickles only.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The model has something that edgekit does not carry.
    """
    family = import_module(f"edgekit.stages.families.{FAMILIES[task]}")
    reference: Reference = family.load(checkpoint, task, work)
    return reference


def load_model(folder: Path, task: str, *, unused: tuple[str, ...] = (), model_class: Any = None) -> Any:
    """The checkpoint as the task's model class, float32, in evaluation mode.

    Weights that leave parameters at their random start, or that hold more layers, are refused: transformers only
    warns.

    Args:
        folder: The checkpoint's.
        task: From :func:`resolve_task`.
        unused: Prefixes of parameters that the task never reads and that may be missing.
        model_class: Of transformers; None takes the task's.

    Raises:
        CheckpointError: It cannot be loaded, or config and weights are of different models.
    """
    with quiet():
        import torch
        from optimum.exporters.tasks import TasksManager

        try:
            loader = model_class or TasksManager.get_model_class_for_task(task)
            model, loading = loader.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise CheckpointError(
                f"{folder}: transformers cannot load it: {first_line(error)}",
                hint="check that config.json and the weights belong together and the files are whole",
            ) from error
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith(unused or ("\0",)))
    if missing:
        raise CheckpointError(
            f"{folder}: config.json describes {len(missing)} parameters the weights do not hold, such as {missing[0]}",
            hint="config.json and the weights are of different models, or the checkpoint is not of this task",
        )
    # Heads a task does not use are fine; another layer of what it does use is not.
    shapes = {_without_numbers(name) for name, _ in model.named_parameters()}
    prefix = f"{model.base_model_prefix}."
    extra = sorted(name for name in loading["unexpected_keys"] if _without_numbers(name.removeprefix(prefix)) in shapes)
    if extra:
        raise CheckpointError(
            f"{folder}: the weights hold {len(extra)} parameters that config.json does not describe, "
            f"such as {extra[0]}",
            hint="config.json and the weights are of different models",
        )
    return model.eval()


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _task_of(checkpoint: Checkpoint) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES

    if (checkpoint.folder / "modules.json").is_file():
        return "feature-extraction"
    name = checkpoint.source.architecture
    if name == "WhisperForConditionalGeneration":
        return "automatic-speech-recognition"
    if name in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES.values():  # some are named like classifiers of text
        return "audio-classification"
    for head, task in (
        ("ForSequenceClassification", "text-classification"),
        ("ForTokenClassification", "token-classification"),
        ("ForQuestionAnswering", "question-answering"),
        ("ForCausalLM", "text-generation"),
        ("LMHeadModel", "text-generation"),
        ("ForConditionalGeneration", "text2text-generation"),
        ("ForImageClassification", "image-classification"),
        ("ForCTC", "automatic-speech-recognition"),
    ):
        if name.endswith(head):
            return task
    if "logit_scale_init_value" in checkpoint.config or checkpoint.config.get("model_type") in ("siglip", "siglip2"):
        return "zero-shot-image-classification"
    return "feature-extraction"  # a bare encoder, or a masked language model whose encoder is wanted
