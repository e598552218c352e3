"""Texts from texts: translation, summaries, answers, in the shape of ``transformers`` 4's pipelines of those names.

transformers 5 has no pipelines for these tasks any more; the shapes of their results are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text import TextEncoder, check_inputs, equal_lengths, texts_of
from edgekit.runtime.writer import Encoded, Forced, Writer, judged_places
from edgekit.spec.settings.text import TextSettings

_STATES = "encoder_hidden_states"
_NAMES = {"summarization": "summary", "translation": "translation"}


class Seq2Seq(Model):
    """An open bundle with an encoder and a decoder, from text to text.

    Attributes:
        task: What it is used for: ``text2text-generation``, ``summarization``, ``translation`` or
            ``translation_{from}_to_{to}``. It names the result, and the prefix that some models were trained with.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        text = opened.section(TextSettings)
        self.task = self.manifest.task
        self._text = TextEncoder(opened.read(text.tokenizer), text)
        self._encoder = opened.session("encoder")
        check_inputs(self._encoder.inputs)
        self._writer = Writer.open(opened, self._text)
        self._settings = self._writer.settings
        start = self._settings.decoder_start_id
        if start is None:
            raise IntegrityError("edgekit.json: generation: decoder_start_id: an encoder-decoder needs one")
        self._start = [start]

    def named(self, task: str) -> Self:
        """See :meth:`Model.named`: summaries and translations have results and prefixes of their own."""
        self.task = task
        return self

    def with_threads(self, threads: int) -> Self:
        """See :meth:`Model.with_threads`."""
        return super().with_threads(threads).named(self.task)

    def __call__(  # noqa: PLR0913 - each is an option of transformers' pipeline
        self,
        inputs: str | Sequence[str],
        *,
        max_new_tokens: int | None = None,
        min_new_tokens: int | None = None,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
        stop_strings: str | Sequence[str] | None = None,
        seed: int | None = None,
        num_return_sequences: int = 1,
        truncation: bool = False,
        batch_size: int = 1,
    ) -> list[Any]:
        """A text for each text.

        Options left out are the bundle's own, from the checkpoint's ``generation_config.json``. Beams are not searched:
        a checkpoint that asks for some is decoded greedily, and its texts can differ from the original's.

        Args:
            inputs: A text, or texts.
            max_new_tokens: See :class:`edgekit.runtime.sampling.GenerationOptions` for this and the next.
            min_new_tokens: See there.
            do_sample: See there.
            temperature: See there.
            top_k: See there.
            top_p: See there.
            min_p: See there.
            repetition_penalty: See there.
            no_repeat_ngram_size: See there.
            stop_strings: One or several texts that end generation once they appear; they stay in the answer.
            seed: See there.
            num_return_sequences: How many different texts, where tokens are drawn.
            truncation: Whether a text that is too long is cut on the right, rather than refused.
            batch_size: Texts run at once, at most; only texts of equally many tokens are.

        Returns:
            A ``{"generated_text": str}`` for each text (``summary_text`` or ``translation_text`` where the pipeline was
            asked for that), or with several sequences a list of them for each.

        Raises:
            InputError: An item is no text, or too long; the message has its index.
            UsageError: An option has no such value, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        changes = {
            "max_new_tokens": max_new_tokens,
            "min_new_tokens": min_new_tokens,
            "do_sample": do_sample,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "stop_strings": stop_strings,
            "seed": seed,
        }
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, Sequence | np.ndarray):
            raise InputError(f"expected a str or a list of str, got {type(texts).__name__}")
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        ids = [self._ids(index, text, truncation=truncation) for index, text in enumerate(texts)]
        key = f"{_NAMES.get(self.task.partition('_')[0], 'generated')}_text"
        answers: list[list[dict[str, str]]] = [[] for _ in ids]
        for batch in equal_lengths(ids, batch_size):
            written = self._writer.write(
                [self._start] * len(batch),
                changes,
                copies=num_return_sequences,
                encoded=self._encode([ids[row] for row in batch for _ in range(num_return_sequences)]),
            )
            for row, several in zip(batch, written, strict=True):
                answers[row] = [{key: text} for text in several]
        return [answer[0] for answer in answers] if num_return_sequences == 1 else answers

    def stream(
        self,
        text: str,
        *,
        max_new_tokens: int | None = None,
        stop_strings: str | Sequence[str] | None = None,
        truncation: bool = False,
    ) -> Iterator[str]:
        """The text for one text, piece by piece. A piece never changes, nor ends within a character.

        Args:
            text: The text.
            max_new_tokens: As for a call.
            stop_strings: As for a call.
            truncation: As for a call.

        Raises:
            InputError: As a call, before the first piece is asked for.
            UsageError: As a call.
            HostError: As a call.
        """
        encoded = self._encode([self._ids(0, text, truncation=truncation)])
        changes = {"max_new_tokens": max_new_tokens, "stop_strings": stop_strings}
        return self._writer.stream(self._start, changes, encoded=encoded)

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (places, vocabulary)}`` for the first tokens of ``target``, or of ``text`` itself.

        The decoder's start is prefilled and every token behind it decoded over the cache, as when text is generated.
        """
        sources = self._text.encode(texts_of(inputs))
        targets = self._text.encode(item.get("target", item["text"]) for item in inputs)
        counts = [judged_places(index, item, self._settings) for index, item in enumerate(inputs)]
        rows = [
            Forced([*self._start, *target[:count][:-1]], 1, max(1, len(target[:count])), source or self._start)
            for source, target, count in zip(sources, targets, counts, strict=True)
        ]
        return self._writer.judge(rows, batch_size=batch_size, encode=self._encode)

    def _ids(self, index: int, text: Any, *, truncation: bool) -> list[int]:
        prefix = self._settings.prefixes.get(self.task, "")
        text = prefix + text if isinstance(text, str) else text
        ids = self._text.encode([text])[0] if truncation and isinstance(text, str) else self._text.whole(index, text)
        if not ids:
            raise InputError(f"text {index}: has no tokens")
        return ids

    def _encode(self, ids: Sequence[Sequence[int]]) -> Encoded:
        feeds = self._text.batch(ids, self._encoder.inputs)
        states = self._encoder.run(feeds)[_STATES]
        width = max(map(len, ids))
        mask = np.arange(width) < np.array([len(row) for row in ids])[:, None]
        return {_STATES: states, "encoder_attention_mask": mask.astype(np.int64)}
