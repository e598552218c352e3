"""The table of architectures: which types are tried, with which tasks, and what their tiny configuration needs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).with_name("architectures.toml")
# Task -> the class of transformers that has its head. Names are Hugging Face's.
AUTO_CLASSES: Final[Mapping[str, str]] = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "image-classification": "AutoModelForImageClassification",
    "image-feature-extraction": "AutoModel",
    "image-segmentation": "AutoModelForSemanticSegmentation",
    "universal-segmentation": "AutoModelForUniversalSegmentation",
    "object-detection": "AutoModelForObjectDetection",
    "depth-estimation": "AutoModelForDepthEstimation",
    "keypoint-detection": "AutoModelForKeypointDetection",
    "image-to-image": "AutoModelForImageToImage",
    "video-classification": "AutoModelForVideoClassification",
    "audio-classification": "AutoModelForAudioClassification",
    "audio-ctc": "AutoModelForCTC",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
    "zero-shot-object-detection": "AutoModelForZeroShotObjectDetection",
    "document-question-answering": "AutoModelForDocumentQuestionAnswering",
    "visual-question-answering": "AutoModelForVisualQuestionAnswering",
    "image-text-to-text": "AutoModelForImageTextToText",
}
GENERATING: Final = ("text-generation", "text2text-generation", "automatic-speech-recognition")
_GROUP_KEYS: Final = {"tasks", "types"}
_TYPE_KEYS: Final = {"tasks", "config", "gain", "one_size"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row of the table.

    Attributes:
        name: transformers' model type.
        modality: The group it stands in: ``text-encoder``, ``text-decoder``, ``vision`` and others.
        tasks: The tasks to prove, as :data:`AUTO_CLASSES` names them.
        config: Values that win over the shrunk configuration.
        gain: See :func:`benchmarks.matrix.tiny.enliven`.
        one_size: The model takes other sizes of pictures, but its preprocessing gives only one: prove that.
    """

    name: str
    modality: str
    tasks: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    gain: float = 1.4
    one_size: bool = False


def read(path: Path = PATH) -> tuple[Architecture, ...]:
    """The rows, by group and name.

    Raises:
        ValueError: A key, task or name that means nothing, or a type in two groups.
    """
    record = tomllib.loads(path.read_text(encoding="utf-8"))
    _known(record, {"group", "type"}, "the table")
    own = record.get("type", {})
    rows: dict[str, Architecture] = {}
    for modality, group in record["group"].items():
        _known(group, _GROUP_KEYS, f"group.{modality}")
        for name in group["types"]:
            if name in rows:
                raise ValueError(f"{name} stands in {rows[name].modality} and in {modality}")
            special = own.get(name, {})
            _known(special, _TYPE_KEYS, f"type.{name}")
            tasks = tuple(special.get("tasks", group["tasks"]))
            _known(tasks, AUTO_CLASSES, f"the tasks of {name}")
            special = {**special, "tasks": tasks}
            rows[name] = Architecture(name, modality, **special)
    _known(own, rows, "type")
    return tuple(sorted(rows.values(), key=lambda row: (row.modality, row.name)))


def _known(found: Iterable[str], allowed: Iterable[str], where: str) -> None:
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)} is not one of {', '.join(sorted(allowed))}")
