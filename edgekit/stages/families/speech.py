"""Speech recognition with an encoder and a decoder: the Whisper family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.errors import ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.audio import AudioEncoder
from edgekit.runtime.transcription import MAX_NEW_TOKENS
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.audio import AudioSettings, LogMelFeatures
from edgekit.spec.settings.generation import GenerationSettings
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.speech import UNDEFINED, SpeechSettings
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import generation_defaults, synthetic_audio, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.families.audio import COLUMN, clip_of, golden_samples
from edgekit.stages.families.audio_settings import audio_settings, load_extractor
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.generation_parts import generation_parts
from edgekit.stages.pickles import without_pickles
from edgekit.stages.reference import Case, Feeds, Reference, load_model


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a Whisper model, its feature extractor and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The feature extractor or the tokenizer cannot run on a device.
    """
    from transformers import AutoModelForSpeechSeq2Seq

    folder = without_pickles(checkpoint.folder, work)
    model = load_model(folder, task, model_class=AutoModelForSpeechSeq2Seq)
    extractor = load_extractor(folder)
    words = tokenizer.load_tokenizer(folder)
    return SpeechReference(
        task=task,
        model=model,
        extractor=extractor,
        tokenizer=words,
        tokenizer_json=tokenizer.tokenizer_json(words, checkpoint.folder, generates=True),
        audio=audio_settings(extractor, model.config),
        speech=speech_settings(model, extractor, words),
    )


@dataclass(frozen=True, slots=True)
class SpeechReference(Reference):
    """A loaded Whisper model.

    It is judged under teacher forcing: the decoder reads the row's ``text``, or what the model itself says, and its
    logits for each next token are compared.
    """

    columns: ClassVar[tuple[str, ...]] = (COLUMN,)

    task: str
    model: Any
    extractor: Any
    tokenizer: Any
    tokenizer_json: bytes
    audio: AudioSettings
    speech: SpeechSettings

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:  # noqa: ARG002 - one by one
        """Logits (tokens, vocabulary) for the tokens that come next."""
        import torch

        rows: list[Raw] = []
        with torch.inference_mode():
            for asked in inputs:
                ids = torch.from_numpy(np.concatenate([asked["prompt"], asked["forced"][:-1]]))[None]
                logits = self.model(self._features(asked[COLUMN]), decoder_input_ids=ids, use_cache=False).logits[0]
                rows.append({"logits": logits[len(asked["prompt"]) - 1 :].numpy().astype(np.float32)})
        return rows

    def parts(self) -> Mapping[str, Part]:
        """Encoder, prefill and decode."""
        return generation_parts(self.model)

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Sound, text, and how tokens are said."""
        pad_id = generation_defaults.pad_id(self.model, self.tokenizer)
        positions = int(self.model.config.max_target_positions)
        return (
            self.audio,
            TextSettings(f"{assets}/{tokenizer.FILE}", max_length=positions, pad_id=pad_id, pad_type_id=0),
            self._generation(),
            self.speech,
        )

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {tokenizer.FILE: self.tokenizer_json}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A clip a row, with the tokens the decoder is made to say: those of the row's ``text`` are the truth."""
        encoder = AudioEncoder(self.audio, (Tensor(self.audio.input, "float32", ("batch", "bins", "frames")),))
        prompt = self._prompt()
        room = int(self.model.config.max_target_positions) - len(prompt)
        places = min(generation_defaults.judged_places(self.model.config.vocab_size), room)
        cases = []
        for row in rows:
            clip = clip_of(row[COLUMN], encoder)
            forced = self._spoken(row["text"], places) if "text" in row else self._heard(clip, prompt, places)
            truth = {"logits": forced} if "text" in row else {}
            cases.append(Case({COLUMN: clip, "prompt": prompt, "forced": forced}, len(clip), truth))
        return cases

    def golden(self, asked: Input) -> Input:
        """The clip's beginning, and the first tokens: a row of logits is as wide as the vocabulary."""
        places = generation_defaults.golden_places(self.model.config.vocab_size)
        return {**asked, COLUMN: golden_samples(asked[COLUMN], self.audio), "forced": asked["forced"][:places]}

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:  # noqa: ARG002 - no recipe asks for them
        """None: no recipe for generating models measures activations."""
        return {}

    def builtin(self) -> Dataset:
        """Synthetic sounds, on which nothing can be proven."""
        return synthetic_audio.dataset()

    def _generation(self) -> GenerationSettings:
        settings = generation_defaults.generation_settings(self.model, self.tokenizer, self.task, "")
        config = self.model.config
        settings = replace(settings, layers=int(config.decoder_layers), max_positions=int(config.max_target_positions))
        generation = self.model.generation_config
        if generation.max_length is None and generation.max_new_tokens is None:
            settings = replace(settings, max_length=None, max_new_tokens=MAX_NEW_TOKENS)  # the pipeline's
        return settings

    def _features(self, clip: npt.NDArray[np.float32]) -> Any:
        return self.extractor(clip, sampling_rate=self.audio.sampling_rate, return_tensors="pt").input_features

    def _prompt(self) -> npt.NDArray[np.int64]:
        """One that the model was trained on; which language is judged does not matter."""
        speech = self.speech
        language = speech.languages.get("en", next(iter(speech.languages.values()), UNDEFINED))
        ids = [generation_defaults.decoder_start(self.model), language, speech.tasks.get("transcribe", UNDEFINED)]
        ids.append(speech.no_timestamps_id)
        return np.array([token for token in ids if token != UNDEFINED], np.int64)

    def _spoken(self, text: str, places: int) -> npt.NDArray[np.int64]:
        ids = self.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        return np.array([*ids, *self._generation().eos_ids[:1]][:places], np.int64)

    def _heard(
        self, clip: npt.NDArray[np.float32], prompt: npt.NDArray[np.int64], places: int
    ) -> npt.NDArray[np.int64]:
        """What the model says next, token by token."""
        import torch

        said: list[int] = []
        ends = self._generation().eos_ids
        with torch.inference_mode():
            states = self.model.get_encoder()(self._features(clip))
            for _ in range(places):
                ids = torch.tensor([[*prompt.tolist(), *said]])
                logits = self.model(encoder_outputs=states, decoder_input_ids=ids, use_cache=False).logits
                said.append(int(logits[0, -1].argmax()))
                if said[-1] in ends:
                    break
        return np.array(said, np.int64)


def speech_settings(model: Any, extractor: Any, words: Any) -> SpeechSettings:
    """What the device must know of the model's generation config and tokenizer.

    Raises:
        ExportError: The forced tokens have gaps.
    """
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    config, generation = model.config, model.generation_config
    languages = {
        token.removeprefix("<|").removesuffix("|>"): int(place)
        for token, place in (getattr(generation, "lang_to_id", None) or {}).items()
    }
    no_timestamps = getattr(generation, "no_timestamps_token_id", None)
    most = getattr(generation, "max_initial_timestamp_index", None)
    features = audio_settings(extractor, config).features
    if not isinstance(features, LogMelFeatures):
        raise ExportError("preprocessor_config.json: expected the features of WhisperFeatureExtractor")
    return SpeechSettings(
        languages=languages,
        names={name: code for name, code in TO_LANGUAGE_CODE.items() if code in languages},
        tasks={name: int(place) for name, place in (getattr(generation, "task_to_id", None) or {}).items()},
        language=_code(getattr(generation, "language", None) or "", TO_LANGUAGE_CODE),
        task=str(getattr(generation, "task", None) or ""),
        prompt_ids=_forced(config, generation),
        special_ids=tuple(sorted(int(token) for token in words.all_special_ids)),
        no_timestamps_id=UNDEFINED if no_timestamps is None else int(no_timestamps),
        max_initial_timestamp=UNDEFINED if most is None else int(most),
        timestamp_s=float(extractor.chunk_length / config.max_source_positions),
        timestamp_frames=features.frames // int(config.max_source_positions),
        return_timestamps=bool(getattr(generation, "return_timestamps", False)),
    )


def _code(language: str, codes: Mapping[str, str]) -> str:
    name = language.lower().removeprefix("<|").removesuffix("|>")
    return codes.get(name, name)


def _forced(config: Any, generation: Any) -> tuple[int, ...]:
    """``forced_decoder_ids`` of older checkpoints: pairs of a place, from 1, and an id, None for the language's."""
    pairs = getattr(generation, "forced_decoder_ids", None) or getattr(config, "forced_decoder_ids", None) or []
    if [place for place, _ in pairs] != list(range(1, len(pairs) + 1)):
        raise ExportError(f"generation_config.json: forced_decoder_ids: expected places from 1 on, found {pairs}")
    return tuple(UNDEFINED if token is None else int(token) for _, token in pairs)
