"""Masked words: which token stands where a text has a mask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from edgekit.errors import DataError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.settings.masks import MaskSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import data
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.text import Asked, TextModel, TextReference, load_text_model
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import Case, Reference

OUTPUT: Final = "logits"
JUDGED: Final = 240  # a vocabulary of logits for each: more would fill the memory and tell little more
_TRIED: Final = 4  # words of a text, until one is a token by itself


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a masked language model and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device, or has no mask.
    """
    text = load_text_model(checkpoint, task, work)
    if text.tokenizer.mask_token_id is None:
        raise ExportError("the tokenizer has no mask token", hint="the model is no masked language model")
    return MaskReference(task, text)


@dataclass(frozen=True, slots=True)
class MaskReference(TextReference):
    """A loaded masked language model."""

    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {OUTPUT: ("batch", "sequence")}

    task: str
    text: TextModel

    def asked(self, item: Input) -> list[Asked]:
        """The text with its masks."""
        return [(item["text"], None)]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits of its masks."""
        mask = self.text.tokenizer.mask_token_id
        return [{"logits": found.arrays[OUTPUT][found.ids == mask]} for (found,) in self.answered(inputs, batch_size)]

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and mask."""
        words = self.text.tokenizer
        cleaned = bool(words.clean_up_tokenization_spaces) and type(words.backend_tokenizer.model).__name__ != "BPE"
        vocabulary = int(self.text.model.get_output_embeddings().weight.shape[0])
        return (self.text.settings(assets), MaskSettings(OUTPUT, int(words.mask_token_id), vocabulary, cleaned))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row.

        One that has masks is asked as it is, its ``label`` being the word of a single mask; in any other a word near
        the middle is masked, if it can be one that is a token by itself.
        """
        return [self._case(row) for row in rows]

    def builtin(self) -> Dataset:
        """The built-in English corpus, a word masked in each sentence."""
        texts = data.builtin_texts()
        return Dataset(texts.name, texts.sha256, texts.calibration, texts.judged[:JUDGED])

    def _case(self, row: Row) -> Case:
        mask = self.text.tokenizer.mask_token
        text, word = (row["text"], row.get("label", "")) if mask in row["text"] else self._masked(row["text"])
        ids = self._tokens([(text, None)])["input_ids"][0].numpy()
        masks = int((ids == self.text.tokenizer.mask_token_id).sum())
        # Masks beyond the model's length are not asked, and a device refuses them
        item = {"text": mask.join(text.split(mask)[: masks + 1])}
        if not masks:
            raise DataError(f"a row has no {mask} within {self.text.max_length} tokens: {text[:60]!r}")
        token = self._single(text, word) if word and masks == 1 else None
        return Case(item, len(ids), {} if token is None else {"logits": np.array([token], np.int64)})

    def _masked(self, text: str) -> tuple[str, str]:
        """The text with a word masked, and that word."""
        head = text[: self.text.max_length * 2]  # the mask shall stand within the model's length
        words = [(match.start(), match.group()) for match in re.finditer(r"[^\W\d_]{2,}", head)]
        if not words:
            raise DataError(f"a row has no word to mask: {text[:60]!r}")
        tried = sorted(words, key=lambda word: abs(word[0] - len(head) // 2))
        mask = self.text.tokenizer.mask_token
        made = [(text[:start] + mask + text[start + len(word) :], word) for start, word in tried]
        return next((both for both in made[:_TRIED] if self._single(*both) is not None), made[0])

    def _single(self, masked: str, word: str) -> int | None:
        """The token that stands in the mask's place where the word stands there; None where they are several."""
        mask = self.text.tokenizer.mask_token
        with_mask, with_word = (
            self._tokens([(text, None)])["input_ids"][0] for text in (masked, masked.replace(mask, word))
        )
        if len(with_mask) != len(with_word):
            return None
        differs = (with_mask != with_word).nonzero().flatten().tolist()
        place = differs[0] if len(differs) == 1 else None
        if place is None or int(with_mask[place]) != self.text.tokenizer.mask_token_id:
            return None
        return int(with_word[place])
