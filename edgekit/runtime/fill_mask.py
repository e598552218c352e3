"""Fill masked words, as ``transformers.pipeline("fill-mask")`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.encoded import Encoded
from edgekit.runtime.masks import as_fillings, best_tokens
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text_graph import TOKENS, TextGraph, fields, listed
from edgekit.spec.settings.masks import MaskSettings
from edgekit.spec.settings.text import TextSettings

# Spaces that transformers' clean_up_tokenization_spaces takes out of English text, in its order.
_CLEANED: Final = (" .", " ?", " !", " ,", (" ' ", "'"), " n't", " 'm", " 's", " 've", " 're")


class MaskFiller(Model):
    """An open bundle that says which words may stand where a text has a mask.

    Attributes:
        mask: What marks a place in a text, such as ``[MASK]``.
    """

    unwraps_one: ClassVar[bool] = True

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(MaskSettings)
        self._pad_id = opened.section(TextSettings).pad_id
        self._graph = TextGraph(opened)
        self.mask = self._graph.encoder.token(self._settings.mask_id)

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        batch_size: int = 1,
    ) -> list[Any]:
        """The likeliest words for each mask.

        Args:
            inputs: A text with at least one mask, or several texts.
            top_k: Words wanted for each mask.
            targets: Words to choose from; one that is no token counts as its first token.
            batch_size: Texts run at once, at most.

        Returns:
            For a text with one mask a list of ``{"score", "token", "token_str", "sequence"}``, the likeliest first;
            for one with several masks a list of such lists, each mask filled by itself. For several texts a list of
            these (for a list of one text its own, as the pipeline has it).

        Raises:
            InputError: An item is no text, has no mask, or has one beyond the model's length.
            UsageError: An argument makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        items, _ = listed(inputs)
        ids = None if targets is None else self._targets(targets)
        encoded = [self._encode(item, index) for index, item in enumerate(items)]
        answers: list[Any] = []
        for item, logits in zip(encoded, self._logits(encoded, batch_size), strict=True):
            chosen = best_tokens(logits, top_k=top_k, targets=ids)
            filled = self._fillings(item, chosen)
            answers.append(filled[0] if len(filled) == 1 else filled)
        return answers[0] if len(answers) == 1 else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (masks, vocabulary)}`` for ``{"text": str}`` with masks."""
        encoded = [self._encode(item, index) for index, item in enumerate(inputs)]
        return [{"logits": logits} for logits in self._logits(encoded, batch_size)]

    def _encode(self, item: Any, index: int) -> Encoded:
        text = fields(item, index, ("text",))["text"]
        encoded = self._graph.encoder.encode(text, where=f"input {index}: ")
        masks = int((encoded.ids == self._settings.mask_id).sum())
        if not masks:
            raise InputError(f"input {index}: has no {self.mask} within {self._graph.encoder.max_length} tokens")
        if encoded.truncated and text.count(self.mask) > masks:
            raise InputError(
                f"input {index}: {masks} of {text.count(self.mask)} masks stand within "
                f"{self._graph.encoder.max_length} tokens",
                hint="shorten the text",
            )
        return encoded

    def _logits(self, encoded: Sequence[Encoded], batch_size: int) -> list[npt.NDArray[np.float32]]:
        output = self._settings.output
        answers = self._graph.run(encoded, {output: (TOKENS, self._settings.vocabulary)}, batch_size)
        return [
            answer[output][item.ids == self._settings.mask_id] for item, answer in zip(encoded, answers, strict=True)
        ]

    def _fillings(self, item: Encoded, chosen: Sequence[Sequence[tuple[int, float]]]) -> list[list[dict[str, Any]]]:
        # Without special tokens the other masks would vanish from the sequence
        sequence_text = self._plain_sequence if len(chosen) == 1 else self._sequence
        places, ids = np.flatnonzero(item.ids == self._settings.mask_id).tolist(), item.ids.tolist()
        return [
            as_fillings(ids, place, row, self._text, sequence_text) for place, row in zip(places, chosen, strict=True)
        ]

    def _text(self, ids: Sequence[int]) -> str:
        return self._cleaned(self._graph.encoder.decode(ids, skip_special=False))

    def _sequence(self, ids: Sequence[int]) -> str:
        return self._text([number for number in ids if number != self._pad_id])

    def _plain_sequence(self, ids: Sequence[int]) -> str:
        kept = [number for number in ids if number != self._pad_id]
        return self._cleaned(self._graph.encoder.decode(kept, skip_special=True))

    def _cleaned(self, text: str) -> str:
        for spaced in _CLEANED if self._settings.clean_up else ():
            before, after = spaced if isinstance(spaced, tuple) else (spaced, spaced[1:])
            text = text.replace(before, after)
        return text

    def _targets(self, targets: str | Sequence[str]) -> list[int]:
        words = [targets] if isinstance(targets, str) else list(targets)
        found = {word: self._graph.encoder.first_token(word) for word in words}
        missing = [word for word, number in found.items() if number is None]
        if missing or not found:
            raise UsageError(f"targets {missing or words}: expected words that have a token")
        return sorted({number for number in found.values() if number is not None})
