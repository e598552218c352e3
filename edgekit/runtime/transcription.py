"""Recognize speech with an encoder and a decoder: the Whisper family.

A clip up to the encoder's length is one window. A longer one is heard window by window, each from where the one
before left off (section 3.8 of the Whisper paper, without its fallbacks to other temperatures), or, where
``chunk_length_s`` is given, in chunks that overlap and are merged by their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.audio import AudioEncoder, AudioInput, as_list
from edgekit.runtime.audio_features import log_mel, scale_log_mel
from edgekit.runtime.ctc import Chunk, chunk_sizes, chunks
from edgekit.runtime.decoding import Decoder
from edgekit.runtime.detokenizing import TokenTexts
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.speech_times import TimestampRule, heard
from edgekit.runtime.text import guarded
from edgekit.runtime.transcript import Heard, Transcript
from edgekit.spec.reader import nearest
from edgekit.spec.settings.audio import AudioSettings, LogMelFeatures
from edgekit.spec.settings.generation import GenerationSettings
from edgekit.spec.settings.speech import UNDEFINED, SpeechSettings
from edgekit.spec.settings.text import TextSettings

Samples = npt.NDArray[np.float32]

MAX_NEW_TOKENS: Final = 256  # of a window, where the model does not say

_GENERATE: Final = ("language", "task", "max_new_tokens")


@dataclass(slots=True)
class _Window:
    """A clip, or a chunk of one, on its way through the encoder's window.

    Attributes:
        features: (bins, frames) float32 of all of it.
        place: Frames heard so far.
        prompt: What the decoder starts with; filled with the first window.
        tokens: What was said so far.
    """

    features: Samples
    place: int
    prompt: list[int]
    tokens: list[int]

    @property
    def left(self) -> int:
        """Frames yet to hear."""
        return int(self.features.shape[1]) - self.place


@dataclass(frozen=True, slots=True)
class _How:
    """What one call asks of every window.

    Attributes:
        prompt: What the decoder starts with, but for times; :data:`UNDEFINED` where a language must be detected.
        times: Whether it says times.
        options: How tokens are chosen.
        batch_size: Windows run at once, at most.
    """

    prompt: list[int]
    times: bool
    options: GenerationOptions
    batch_size: int


class SpeechRecognizer(Model):
    """An open bundle that writes down speech, token by token.

    Attributes:
        sampling_rate: Samples a second of arrays that come without one.
        languages: Codes of the languages it understands; none where it knows one only.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        from tokenizers import Tokenizer

        audio = opened.section(AudioSettings)
        if not isinstance(audio.features, LogMelFeatures):
            raise IntegrityError("edgekit.json: audio: expected log-mel features for a model with an encoder")
        text = opened.section(TextSettings)
        self.sampling_rate = audio.sampling_rate
        self._features = audio.features
        self._speech = opened.section(SpeechSettings)
        self._generation = opened.section(GenerationSettings)
        self.languages = tuple(self._speech.languages)
        self._audio = AudioEncoder(audio, self.manifest.components["encoder"].inputs)
        data = opened.read(text.tokenizer)
        tokenizer = guarded(lambda: Tokenizer.from_buffer(data), IntegrityError, text.tokenizer)
        self._texts = TokenTexts(tokenizer, clean_up=self._generation.clean_up)
        self._encoder = opened.session("encoder")
        self._decoder = Decoder(
            opened.session("prefill"),
            opened.session("decode"),
            pad_id=self._generation.pad_id,
            max_positions=self._generation.max_positions,
        )

    def __call__(  # noqa: PLR0913 - the pipeline's options
        self,
        inputs: AudioInput | list[AudioInput] | tuple[AudioInput, ...],
        *,
        return_timestamps: bool | None = None,
        language: str | None = None,
        task: str | None = None,
        chunk_length_s: float = 0,
        stride_length_s: float | Sequence[float] | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        batch_size: int = 1,
    ) -> Any:
        """Text, with times where asked for. The likeliest token is taken at every step.

        Args:
            inputs: A clip, or a list of clips: a WAV file's path or bytes, an array at the model's rate, or
                ``{"raw" or "array": array, "sampling_rate": Hz}``.
            return_timestamps: Whether to give the times of the text's pieces; None for the model's habit.
            language: Code or English name of the language spoken; None to detect it.
            task: ``transcribe`` or ``translate`` to English; None for the model's habit.
            chunk_length_s: Cut longer clips into overlapping chunks of so many seconds; 0 hears them in sequence.
            stride_length_s: Seconds at the ends of a chunk that its neighbours hold too, or (left, right); None takes
                a sixth of the chunk on both sides.
            max_new_tokens: Tokens for a window at most.
            generate_kwargs: ``language``, ``task`` and ``max_new_tokens`` as ``transformers.pipeline`` takes them.
            batch_size: Windows run at once, at most.

        Returns:
            ``{"text": str}``, with ``"chunks": [{"text": str, "timestamp": (start_s, end_s)}]`` where times are asked
            for, of which the last end may be None; for a list of clips, one for each.

        Raises:
            InputError: An item is no sound, or too short or too long.
            UsageError: An option makes no sense for this model, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        named = {"language": language, "task": task, "max_new_tokens": max_new_tokens}
        chosen = named | _known(generate_kwargs or {})
        if return_timestamps not in (None, True, False):
            raise UsageError(
                f"return_timestamps {return_timestamps!r}: expected True or False",
                hint="times of words need attention weights, which bundles do not carry",
            )
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        times = self._speech.return_timestamps if return_timestamps is None else return_timestamps
        if times and self._speech.no_timestamps_id == UNDEFINED:
            raise UsageError("return_timestamps: this model knows no times")
        prompt = self._prompt(chosen["language"], chosen["task"])
        how = _How(prompt, times, self._options(chosen["max_new_tokens"]), batch_size)
        values, single = as_list(inputs)
        clips = [self._audio.samples(value, f"audio {index}") for index, value in enumerate(values)]
        self._audio.batches(clips, 1)  # refuses what is too long
        if chunk_length_s:
            answers = self._by_chunks(clips, chunk_length_s, stride_length_s, how)
        else:
            windows = [self._window(clip) for clip in clips]
            # Only times say where the next window begins.
            short = [window for window in windows if window.left <= self._features.frames]
            long = [window for window in windows if window.left > self._features.frames]
            self._hear(short, how)
            self._hear(long, replace(how, times=True))
            answers = [self._answer([Heard(window.tokens)], times=times) for window in windows]
        return answers[0] if single else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:  # noqa: ARG002 - see below
        """``{"logits": (tokens, vocabulary)}`` for ``{"audio": (n,), "prompt": ids, "forced": ids}``.

        The decoder reads the prompt and then, one by one, the tokens that are given; the answer is what it says comes
        next after the prompt and after each of them but the last.
        """
        clips = self._audio.clips_of(inputs)
        answers: list[Raw] = []
        for clip, asked in zip(clips, inputs, strict=True):  # of unlike lengths, and no faster at once
            prompt, forced = _ids_of(asked, "prompt"), _ids_of(asked, "forced")
            states = self._states([self._window(clip).features[:, : self._features.frames]])
            rows = [[*prompt, *forced[:-1]]]
            logits = self._decoder.teacher_forced(rows, len(prompt), len(forced), encoded=states)
            answers.append({"logits": logits[0]})
        return answers

    def _window(self, clip: Samples) -> _Window:
        features, rate = self._features, self.sampling_rate
        if len(clip) <= features.clip:
            return _Window(self._audio.feeds([clip])[self._audio.settings.input][0], 0, [], [])
        return _Window(scale_log_mel(log_mel(clip, features, rate)), 0, [], [])

    def _by_chunks(
        self,
        clips: Sequence[Samples],
        chunk_length_s: float,
        stride_length_s: float | Sequence[float] | None,
        how: _How,
    ) -> list[dict[str, Any]]:
        sizes = chunk_sizes(chunk_length_s, stride_length_s, self.sampling_rate, 1)
        if sizes[0] > self._features.clip:
            longest = self._features.clip / self.sampling_rate
            raise UsageError(f"chunk_length_s {chunk_length_s}: the model hears {longest:g} s at once")
        parts: list[tuple[int, Chunk, _Window]] = [
            (index, chunk, self._window(clip[chunk.start : chunk.end]))
            for index, clip in enumerate(clips)
            for chunk in chunks(len(clip), *sizes)
        ]
        self._hear([window for _, _, window in parts], how)
        rate, answers = self.sampling_rate, []
        for index in range(len(clips)):
            pieces = [
                Heard(window.tokens, (chunk.end - chunk.start) / rate, chunk.left / rate, chunk.right / rate)
                for owner, chunk, window in parts
                if owner == index
            ]
            answers.append(self._answer(pieces, times=how.times))
        return answers

    def _hear(self, windows: Sequence[_Window], how: _How) -> None:
        """Fill in what is said in each, window by window, several at once."""
        while waiting := [window for window in windows if window.left > 0]:
            for start in range(0, len(waiting), how.batch_size):
                batch = waiting[start : start + how.batch_size]
                frames = [min(window.left, self._features.frames) for window in batch]
                states = self._states(
                    [
                        window.features[:, window.place : window.place + count]
                        for window, count in zip(batch, frames, strict=True)
                    ]
                )
                self._start(batch, states, how)
                said = self._generate([window.prompt for window in batch], states, how)
                for window, count, tokens in zip(batch, frames, said, strict=True):
                    kept, step = heard(tokens, self._first_time, count, self._speech.timestamp_frames)
                    window.tokens += kept
                    window.place += step

    def _states(self, segments: Sequence[Samples]) -> dict[str, npt.NDArray[Any]]:
        """What the encoder hears in windows, each filled up with zeros."""
        batch = np.zeros((len(segments), self._features.bins, self._features.frames), np.float32)
        for row, segment in zip(batch, segments, strict=True):
            row[:, : segment.shape[1]] = segment
        return self._encoder.run({self._audio.settings.input: batch})

    def _start(self, batch: Sequence[_Window], states: dict[str, Any], how: _How) -> None:
        """Give each window its prompt: the language is that of a clip's first window."""
        detected: list[int] = []
        if UNDEFINED in how.prompt and not all(window.prompt for window in batch):
            start = self._generation.decoder_start_id or 0
            logits = self._decoder.teacher_forced([[start]] * len(batch), 1, 1, encoded=states)[:, 0]
            known = np.array(list(self._speech.languages.values()))
            detected = known[logits[:, known].argmax(axis=-1)].tolist()
        for row, window in enumerate(batch):
            if not window.prompt:
                ids = [detected[row] if token == UNDEFINED else token for token in how.prompt]
                window.prompt = self._with_or_without_times(ids, times=how.times)

    def _generate(self, prompts: Sequence[list[int]], states: dict[str, Any], how: _How) -> list[list[int]]:
        """The tokens said in each window, without the one that ends them."""
        rule = None
        if how.times:
            limit = self._speech.max_initial_timestamp
            rule = TimestampRule(
                first=self._first_time,
                no_timestamps=self._speech.no_timestamps_id,
                eos=self._generation.eos_ids[0] if self._generation.eos_ids else self._first_time,
                max_initial=None if limit == UNDEFINED else limit,
            )
        said: list[list[int]] = [[] for _ in prompts]
        for step in self._decoder.steps(prompts, how.options, encoded=states, rule=rule):
            for row in np.flatnonzero(step.live):
                if int(step.tokens[row]) not in how.options.eos_ids:
                    said[row].append(int(step.tokens[row]))
        return said

    def _answer(self, pieces: Sequence[Heard], *, times: bool) -> dict[str, Any]:
        transcript = Transcript(
            self._texts.text, frozenset(self._speech.special_ids), self._first_time, self._speech.timestamp_s
        )
        for piece in pieces:
            transcript.add(piece)
        text, timed = transcript.finish()
        return {"text": text, "chunks": timed} if times else {"text": text}

    @property
    def _first_time(self) -> int:
        none = self._speech.no_timestamps_id
        return self._decoder.vocabulary if none == UNDEFINED else none + 1

    def _options(self, max_new_tokens: int | None) -> GenerationOptions:
        settings = self._generation
        return GenerationOptions(
            max_new_tokens=settings.max_new_tokens or settings.max_length or MAX_NEW_TOKENS
            if max_new_tokens is None
            else max_new_tokens,
            repetition_penalty=settings.repetition_penalty,
            no_repeat_ngram_size=settings.no_repeat_ngram_size,
            eos_ids=settings.eos_ids,
            suppress_ids=settings.suppress_ids,
            begin_suppress_ids=settings.begin_suppress_ids,
        )

    def _prompt(self, language: str | None, task: str | None) -> list[int]:
        """What the decoder starts with but for times; :data:`UNDEFINED` where a language must be detected."""
        speech = self._speech
        for name, value, known in (("language", language, speech.languages), ("task", task, speech.tasks)):
            if value is not None and not known:
                raise UsageError(f"{name} {value!r}: this model knows one only")
        language, task = language or speech.language, task or speech.task
        ids = [self._generation.decoder_start_id or 0]
        if not language and not task:
            ids += speech.prompt_ids
        undefined = len(ids) == 1 or ids[1] == UNDEFINED
        if language:
            ids[1:2] = [self._language(language)]
        elif speech.languages and undefined:
            ids[1:2] = [UNDEFINED]
        if task:
            if task not in speech.tasks:
                raise UsageError(
                    f"task {task!r}: expected {' or '.join(speech.tasks)}", hint=nearest(task, tuple(speech.tasks))
                )
            ids.append(speech.tasks[task])
        elif language and "transcribe" in speech.tasks and not set(ids) & set(speech.tasks.values()):
            ids.append(speech.tasks["transcribe"])
        return ids if speech.languages else [token for token in ids if token != UNDEFINED]

    def _language(self, language: str) -> int:
        if not isinstance(language, str):
            raise UsageError(f"language {language!r}: expected a code or an English name")
        name = language.lower().removeprefix("<|").removesuffix("|>")
        code = self._speech.names.get(name, name)
        if code not in self._speech.languages:
            known = (*self._speech.languages, *self._speech.names)
            raise UsageError(f"language {language!r} is none the model understands", hint=nearest(name, known))
        return self._speech.languages[code]

    def _with_or_without_times(self, ids: list[int], *, times: bool) -> list[int]:
        none = self._speech.no_timestamps_id
        if times:
            return ids[:-1] if ids[-1] == none else ids
        return ids if none in (UNDEFINED, ids[-1]) else [*ids, none]


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name in ("num_beams", "do_sample") and value in (1, False):
            continue  # what is done anyway
        if name not in _GENERATE:
            raise UsageError(f"generate_kwargs: {name}: expected {', '.join(_GENERATE)}", hint=nearest(name, _GENERATE))
    return {name: value for name, value in options.items() if name in _GENERATE}


def _ids_of(asked: Input, field: str) -> list[int]:
    ids = asked.get(field)
    if not isinstance(ids, np.ndarray) or ids.dtype != np.int64 or ids.ndim != 1 or not ids.size:
        raise InputError(f"{field}: expected token ids, (n,) int64")
    return [int(token) for token in ids]
