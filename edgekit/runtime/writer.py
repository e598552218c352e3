"""From token ids to written text: the decoding loop with stop strings and the text of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.decoding import Decoder, Step
from edgekit.runtime.detokenizing import Detokenizer, StopStrings, TokenTexts
from edgekit.runtime.opened import Opened
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.text import TextEncoder
from edgekit.spec.settings.generation import GenerationSettings

Encoded = Mapping[str, npt.NDArray[Any]]
"""What the graphs take of the encoder, by name: states and mask."""


@dataclass(frozen=True, slots=True)
class Forced:
    """A row that a model is made to go along.

    Attributes:
        ids: What the decoder reads.
        prefilled: How many of them at once; the others one by one over the cache.
        wanted: Behind how many of the last the logits are wanted.
        source: What the encoder reads, if there is one.
    """

    ids: Sequence[int]
    prefilled: int
    wanted: int
    source: Sequence[int] = ()


def judged_places(index: int, item: Input, settings: GenerationSettings) -> int:
    """How many tokens of an input are judged: the bundle's number, or fewer where the input says ``places``.

    Raises:
        InputError: It says a number less than 1, or none.
    """
    places = item.get("places", settings.judged_places)
    if not isinstance(places, int | float) or places < 1:
        raise InputError(f"input {index}: places {places!r}: expected a number, at least 1")
    return min(int(places), settings.judged_places)


class Writer:
    """Writes on from token ids, for every model with ``prefill`` and ``decode``. Threads may share it.

    Args:
        decoder: The two graphs.
        texts: What tokens stand for.
        settings: The bundle's defaults.
    """

    def __init__(self, decoder: Decoder, texts: TokenTexts, settings: GenerationSettings) -> None:
        self.decoder = decoder
        self.texts = texts
        self.settings = settings

    @classmethod
    def open(cls, opened: Opened, text: TextEncoder) -> Self:
        """The writer of a bundle.

        Raises:
            IntegrityError: The bundle is not, byte for byte, what its manifest lists, or its graphs are no pair.
            HostError: This onnxruntime cannot run it.
        """
        settings = opened.section(GenerationSettings)
        decoder = Decoder(
            opened.session("prefill"),
            opened.session("decode"),
            pad_id=settings.pad_id,
            max_positions=settings.max_positions,
        )
        return cls(decoder, TokenTexts(text.tokenizer, clean_up=settings.clean_up), settings)

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        changes: Mapping[str, Any],
        *,
        copies: int = 1,
        encoded: Encoded | None = None,
    ) -> list[list[str]]:
        """The text that follows each prompt.

        Args:
            prompts: Token ids the decoder starts with, run as one batch.
            changes: Options of the call, by name; see :meth:`GenerationOptions.of`.
            copies: How many texts for each prompt.
            encoded: See :meth:`Decoder.steps`; a row for each copy of each prompt.

        Returns:
            ``copies`` texts for each prompt.

        Raises:
            InputError: A prompt is too long.
            UsageError: An option has no such value.
            HostError: ONNX Runtime failed.
        """
        options = self._options(prompts, changes, copies)
        rows = [list(prompt) for prompt in prompts for _ in range(copies)]
        stops = [StopStrings(self.texts, options.stop_strings, row) for row in rows] if options.stop_strings else None
        written: list[list[int]] = [[] for _ in rows]
        stop = (lambda row, token: stops[row].add(token)) if stops else None
        for step in self.decoder.steps(rows, options, encoded=encoded, stop=stop):
            for row in step.live.nonzero()[0]:
                written[row].append(int(step.tokens[row]))
        texts = [self.texts.text(tokens) for tokens in written]
        return [texts[first : first + copies] for first in range(0, len(texts), copies)]

    def stream(
        self, prompt: Sequence[int], changes: Mapping[str, Any], *, encoded: Encoded | None = None
    ) -> Iterator[str]:
        """The text that follows a prompt, piece by piece as it is final; joined, they are what :meth:`write` gives.

        Prompt and options are checked before the first piece is asked for.

        Raises:
            InputError: The prompt is too long.
            UsageError: An option has no such value.
            HostError: ONNX Runtime failed.
        """
        options = self._options([prompt], changes, 1)
        stops = StopStrings(self.texts, options.stop_strings, prompt) if options.stop_strings else None
        stop = (lambda _, token: stops.add(token)) if stops else None
        return self._pieces(self.decoder.steps([prompt], options, encoded=encoded, stop=stop))

    def judge(
        self,
        rows: Sequence[Forced],
        *,
        batch_size: int,
        encode: Callable[[Sequence[Sequence[int]]], Encoded] | None = None,
    ) -> list[Raw]:
        """The logits behind the last tokens of given rows, ``{"logits": (wanted, vocabulary)}`` each.

        Args:
            rows: What to read; only rows of one form share a batch.
            batch_size: Rows run at once, at most.
            encode: Makes of several sources what the graphs take of the encoder.

        Raises:
            InputError: A row is too long.
            UsageError: ``batch_size`` is less than 1.
            HostError: ONNX Runtime failed.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        by_form: dict[tuple[int, ...], list[int]] = {}
        for place, row in enumerate(rows):
            by_form.setdefault((len(row.ids), row.prefilled, row.wanted, len(row.source)), []).append(place)
        answers: dict[int, Raw] = {}
        for (_, prefilled, wanted, _), places in by_form.items():
            for first in range(0, len(places), batch_size):
                batch = places[first : first + batch_size]
                logits = self.decoder.teacher_forced(
                    [rows[place].ids for place in batch],
                    prefilled,
                    wanted,
                    encoded=encode([rows[place].source for place in batch]) if encode else None,
                )
                answers |= {place: {"logits": row} for place, row in zip(batch, logits, strict=True)}
        return [answers[place] for place in range(len(rows))]

    def _pieces(self, steps: Iterator[Step]) -> Iterator[str]:
        detokenizer = Detokenizer(self.texts)
        for step in steps:
            if piece := detokenizer.add(int(step.tokens[0])):
                yield piece
        if piece := detokenizer.end():
            yield piece

    def _options(self, prompts: Sequence[Sequence[int]], changes: Mapping[str, Any], copies: int) -> GenerationOptions:
        options = GenerationOptions.of(self.settings, changes, prompt_length=max(map(len, prompts), default=0))
        if not isinstance(copies, int) or copies < 1:
            raise UsageError(f"num_return_sequences {copies!r}: expected an integer, at least 1")
        if copies > 1 and not options.do_sample:
            raise UsageError(
                "num_return_sequences above 1 gives the same text again and again",
                hint="draw tokens instead: do_sample=True",
            )
        return options
