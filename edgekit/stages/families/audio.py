"""Audio classification and speech recognition by CTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, DataError, ExportError, InputError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.audio import MASK, AudioEncoder
from edgekit.runtime.classification import RAW_KINDS
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.audio import AudioSettings, WaveformFeatures
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import synthetic_audio
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.families.audio_settings import audio_settings, ctc_settings, load_extractor
from edgekit.stages.families.classification import label_names, label_truth
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line, quiet
from edgekit.stages.reference import Case, Feeds, Reference, load_model

OUTPUT: Final = "logits"
COLUMN: Final = "audio"
WHISPER: Final = "WhisperForConditionalGeneration"
GOLDEN_S: Final = 1  # a golden case holds its samples: as long as its answer needs to be

_SAMPLE_FRAMES: Final = 23  # odd: the exporter fixes the branch that SEW takes for an even number


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load an audio model, its feature extractor and, for speech, its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The feature extractor or the tokenizer cannot run on a device.
    """
    if task == "automatic-speech-recognition" and checkpoint.source.architecture == WHISPER:
        from edgekit.stages.families import speech  # it builds on this module

        return speech.load(checkpoint, task, work)
    folder = without_pickles(checkpoint.folder, work)
    model = _load_ctc(checkpoint, folder) if task == "automatic-speech-recognition" else load_model(folder, task)
    extractor = load_extractor(folder)
    settings = audio_settings(extractor, model.config)
    if task == "automatic-speech-recognition":
        answers: Section = ctc_settings(_load_tokenizer(folder), model.config, OUTPUT)
    else:
        answers = LabelSettings(OUTPUT, label_names(model.config), _activation(model.config))
    return AudioReference(task, model, extractor, settings, answers)


@dataclass(frozen=True, slots=True)
class AudioReference(Reference):
    """A loaded audio model with one graph: a classifier, or a recognizer by CTC."""

    columns: ClassVar[tuple[str, ...]] = (COLUMN,)

    task: str
    model: Any
    extractor: Any
    settings: AudioSettings
    answers: Section

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:  # noqa: ARG002 - see below
        """The logits, as the runtime names them, of one clip at a time: a padded batch answers otherwise."""
        import torch

        name = RAW_KINDS[self.answers.activation] if isinstance(self.answers, LabelSettings) else "logits"
        rows: list[Raw] = []
        with torch.inference_mode():
            for asked in inputs:
                logits = self.model(**self._processed(asked[COLUMN])).logits[0]
                rows.append({name: logits.numpy().astype(np.float32)})
        return rows

    def parts(self) -> Mapping[str, Part]:
        """The whole model."""
        import torch

        # Two clips of one length; a mask only where the extractor itself fills up.
        features = self.settings.features
        clip = synthetic_audio.sound(0, self._sample_length())
        sample = {name: value for name, value in self._processed(clip).items() if self._is_input(name)}
        sample = {name: torch.cat([value, value]) for name, value in sample.items()}
        free = ("batch", "samples") if isinstance(features, WaveformFeatures) else ("batch",)
        free = ("batch", "rows") if MASK in sample else free
        frames = ("batch",) if isinstance(self.answers, LabelSettings) else ("batch", "frames")
        return {"model": Part(self.model, sample, (OUTPUT,), {**dict.fromkeys(sample, free), OUTPUT: frames})}

    def sections(self, assets: str) -> tuple[Section, ...]:  # noqa: ARG002 - there are none
        """Sound, and labels or text."""
        return (self.settings, self.answers)

    def assets(self) -> Mapping[str, bytes]:
        """None: the tokens stand in the manifest."""
        return {}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A clip a row, with its right label where the row has one."""
        encoder = self._encoder()
        cases = []
        for row in rows:
            clip = clip_of(row[COLUMN], encoder)
            truth = {}
            if isinstance(self.answers, LabelSettings):
                truth = dict(label_truth(row, self.answers.labels, self.answers.activation))
            cases.append(Case({COLUMN: clip}, len(clip), truth))
        return cases

    def golden(self, asked: Input) -> Input:
        """The clip's beginning."""
        return {COLUMN: golden_samples(asked[COLUMN], self.settings)}

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """The model's inputs."""
        encoder = self._encoder()
        return {"model": [encoder.feeds([asked[COLUMN]]) for asked in inputs]}

    def builtin(self) -> Dataset:
        """Synthetic sounds, on which nothing can be proven."""
        return synthetic_audio.dataset()

    def _encoder(self) -> AudioEncoder:
        mask = (Tensor(MASK, "int64", ("batch", "rows")),) if self._is_input(MASK) else ()
        return AudioEncoder(self.settings, (Tensor(self.settings.input, "float32", ("batch", "samples")), *mask))

    def _is_input(self, name: str) -> bool:
        # Clips are only run with others of their length, so a mask of samples would be all ones.
        stacked = getattr(self.settings.features, "stack", 1) > 1
        return name == self.settings.input or (name == MASK and stacked)

    def _processed(self, clip: npt.NDArray[np.float32]) -> dict[str, Any]:
        """What ``transformers.pipeline`` hands to the model."""
        masks = {"return_attention_mask": True} if self.task == "automatic-speech-recognition" else {}
        return dict(self.extractor(clip, sampling_rate=self.extractor.sampling_rate, return_tensors="pt", **masks))

    def _sample_length(self) -> int:
        step = int(getattr(self.model.config, "inputs_to_logits_ratio", 320))
        squeezed = int(getattr(self.model.config, "squeeze_factor", 1))  # frames behind the shortest clip
        return self.settings.min_samples + (_SAMPLE_FRAMES - squeezed) * step + step // 3


def _load_ctc(checkpoint: Checkpoint, folder: Path) -> Any:
    with quiet():
        from transformers import AutoModelForCTC
        from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

    if checkpoint.source.architecture not in MODEL_FOR_CTC_MAPPING_NAMES.values():
        raise ExportError(
            f"{checkpoint.folder}: a {checkpoint.source.architecture} does not recognize speech by CTC",
            hint=f"known are {', '.join(MODEL_FOR_CTC_MAPPING_NAMES.values())}",
        )
    return load_model(folder, "automatic-speech-recognition", model_class=AutoModelForCTC)


def _load_tokenizer(folder: Path) -> Any:
    with quiet():
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{folder}: its tokenizer cannot be loaded: {first_line(error)}",
                hint="vocab.json and tokenizer_config.json must lie beside config.json",
            ) from error


def _activation(config: Any) -> str:
    """What transformers' pipeline applies: here a single label, too, is a share of one."""
    kinds = {"regression": "none", "multi_label_classification": "sigmoid"}
    return kinds.get(str(config.problem_type), "softmax")


def golden_samples(samples: npt.NDArray[np.float32], settings: AudioSettings) -> npt.NDArray[np.float32]:
    """The beginning of a clip, as long as a golden case holds."""
    return samples[: max(GOLDEN_S * settings.sampling_rate, settings.min_samples)]


def clip_of(cell: str, encoder: AudioEncoder) -> npt.NDArray[np.float32]:
    """The samples that a cell of data names.

    Raises:
        DataError: It names no WAV file that can be heard.
    """
    if synthetic_audio.is_synthetic(cell):
        return synthetic_audio.clip(cell, encoder.settings)
    try:
        return encoder.samples(cell)
    except InputError as error:
        raise DataError(error.message, hint=error.hint) from error
