"""Label the tokens of texts, as ``transformers.pipeline("token-classification")`` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.runtime.answers import Input, Raw, softmax
from edgekit.runtime.encoded import Encoded, Stride
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text_graph import TOKENS, TextGraph, fields, listed
from edgekit.runtime.tokens import STRATEGIES, Token, as_dict, continues_word, find_entities
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.tokens import TokenSettings


class TokenClassifier(Model):
    """An open bundle that labels tokens.

    Attributes:
        labels: Their names, in the order of the logits.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(LabelSettings)
        self._unknown = opened.section(TokenSettings).unk_id
        self.labels = self._settings.labels
        self._graph = TextGraph(opened)

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        aggregation_strategy: str = "none",
        ignore_labels: Iterable[str] = ("O",),
        stride: int | None = None,
        batch_size: int = 1,
    ) -> list[Any]:
        """Entities with scores.

        Args:
            inputs: A text, or texts.
            aggregation_strategy: ``none`` for tokens; ``simple`` groups neighbours of one kind; ``first``,
                ``average`` and ``max`` decide on whole words before.
            ignore_labels: Labels that are left out.
            stride: Read all of a long text, in windows that share this many tokens; needs a strategy other than
                ``none``. Without it a text is cut at the model's length.
            batch_size: Windows run at once, at most.

        Returns:
            For a text a list of ``{"entity", "score", "index", "word", "start", "end"}``, with a strategy of
            ``{"entity_group", "score", "word", "start", "end"}``; for texts a list of such lists.

        Raises:
            InputError: An item is no text, or too long to be read in windows.
            UsageError: An argument makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        if aggregation_strategy not in STRATEGIES:
            raise UsageError(f"aggregation_strategy {aggregation_strategy!r}: expected one of {', '.join(STRATEGIES)}")
        if stride is not None and aggregation_strategy == "none":
            raise UsageError("stride: needs an aggregation_strategy other than 'none'")
        items, single = listed(inputs)
        texts = [fields(item, index, ("text",))["text"] for index, item in enumerate(items)]
        windows = [self._windows(index, text, stride) for index, text in enumerate(texts)]
        logits = iter(self._logits([window for parts in windows for window in parts], batch_size))
        ignored = tuple(ignore_labels)
        answers = []
        for text, parts in zip(texts, windows, strict=True):
            tokens = [self._tokens(text, window, next(logits)) for window in parts]
            found = find_entities(
                tokens, self.labels, aggregation_strategy, ignore=ignored, join=self._graph.encoder.join
            )
            answers.append([as_dict(entity, aggregation_strategy) for entity in found])
        return answers[0] if single else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (tokens, labels)}`` for ``{"text": str}``, without special tokens."""
        texts = [fields(item, index, ("text",))["text"] for index, item in enumerate(inputs)]
        windows = [self._windows(index, text, None)[0] for index, text in enumerate(texts)]
        logits = self._logits(windows, batch_size)
        return [{"logits": rows[window.sequence == 0]} for window, rows in zip(windows, logits, strict=True)]

    def _windows(self, index: int, text: str, stride: int | None) -> list[Encoded]:
        where = f"input {index}: "
        if stride is None:
            return [self._graph.encoder.encode(text, where=where)]
        return self._graph.encoder.windows(text, stride=Stride(stride), where=where)

    def _logits(self, windows: Sequence[Encoded], batch_size: int) -> list[npt.NDArray[np.float32]]:
        shapes = {self._settings.output: (TOKENS, len(self.labels))}
        answers = self._graph.run(windows, shapes, batch_size)
        return [answer[self._settings.output] for answer in answers]

    def _tokens(self, text: str, window: Encoded, logits: npt.NDArray[np.float32]) -> list[Token]:
        encoder, scores, offsets = self._graph.encoder, softmax(logits), window.offsets.tolist()
        tokens = []
        for index in np.flatnonzero(window.sequence == 0).tolist():
            number, (start, end) = int(window.ids[index]), offsets[index]
            unknown = number == self._unknown
            word = text[start:end] if unknown else encoder.token(number)
            continues = not unknown and continues_word(text, word, start, end, marked=encoder.marks_subwords)
            tokens.append(Token(index, word, start, end, continues, scores[index]))
        return tokens
