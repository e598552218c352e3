"""Extractive question answering: where in a context an answer begins and ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.runtime.answering import MAX_WINDOW
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.settings.answering import AnsweringSettings
from edgekit.spec.settings.section import Section
from edgekit.stages import data
from edgekit.stages.data import Dataset, Row
from edgekit.stages.families.text import Asked, TextModel, TextReference, load_text_model
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import Case, Reference

START: Final = "start_logits"
END: Final = "end_logits"

_SENTENCES: Final = 3  # of a built-in context
_LONG_EVERY: Final = 8  # every eighth context is
_LONG: Final = 12  # this many sentences long


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a model that marks answers, and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device.
    """
    return AnsweringReference(task, load_text_model(checkpoint, task, work))


@dataclass(frozen=True, slots=True)
class AnsweringReference(TextReference):
    """A loaded model that marks answers in a context."""

    columns: ClassVar[tuple[str, ...]] = ("question", "context")
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys((START, END), ("batch", "sequence"))
    truncation: ClassVar[str] = "only_second"
    window: ClassVar[int | None] = MAX_WINDOW
    pairs: ClassVar[bool] = True

    task: str
    text: TextModel

    def asked(self, item: Input) -> list[Asked]:
        """The question, with the context that its answer is taken from."""
        return [(item["question"], item["context"])]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """The logits of the first window's places that may be an answer."""
        answers: list[Raw] = []
        for (found,) in self.answered(inputs, batch_size):
            allowed = (found.sequence == 1) | ((found.ids == self._no_answer) & (found.sequence != 0))
            answers.append({"logits.start": found.arrays[START][allowed], "logits.end": found.arrays[END][allowed]})
        return answers

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and the token for "no answer"."""
        return (self.text.settings(assets), AnsweringSettings(START, END, self._no_answer))

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A question a row; where it has an ``answer`` that stands in the context, that is the right one."""
        return [self._case(row) for row in rows]

    def builtin(self) -> Dataset:
        """Questions made from the built-in corpus: a sentence of the context with "what" for its longest word.

        No such question was written by a person. They tell whether a variant marks the words the original marks.
        """
        texts = data.builtin_texts()
        fitting = [
            tuple(row for row in _questions(rows) if self._fits(row["question"]))
            for rows in (texts.calibration, texts.judged)
        ]
        return replace(texts, calibration=fitting[0], judged=fitting[1])

    def _fits(self, question: str) -> bool:
        """Whether it leaves at least half a window to its context."""
        return len(self.text.tokenizer(question)["input_ids"]) <= min(MAX_WINDOW, self.text.max_length) // 2

    @property
    def _no_answer(self) -> int:
        found = self.text.tokenizer.cls_token_id
        return -1 if found is None else int(found)

    def _case(self, row: Row) -> Case:
        item = {"question": row["question"], "context": row["context"]}
        batch = self._tokens(self.asked(item))
        owners = np.array([-1 if owner is None else owner for owner in batch.sequence_ids(0)])
        ids = batch["input_ids"][0].numpy()
        allowed = np.flatnonzero((owners == 1) | ((ids == self._no_answer) & (owners != 0)))
        return Case(item, len(ids), self._truth(row, batch, allowed))

    def _truth(self, row: Row, batch: object, allowed: npt.NDArray[np.int64]) -> Mapping[str, npt.NDArray[np.int64]]:
        answer = row.get("answer", "")
        begin = row["context"].find(answer) if answer else -1
        if begin < 0:
            return {}
        # Characters of the context lead to tokens: transformers' BatchEncoding.char_to_token, 1 being the context
        find = batch.char_to_token  # type: ignore[attr-defined]  # transformers has no types here
        places = [find(0, character, sequence_index=1) for character in (begin, begin + len(answer) - 1)]
        truth = [np.flatnonzero(allowed == place) if place is not None else np.empty(0) for place in places]
        if not all(len(found) for found in truth):
            return {}  # beyond the window, or a character without a token
        return {"logits.start": truth[0].astype(np.int64), "logits.end": truth[1].astype(np.int64)}


def _questions(rows: Sequence[Row]) -> list[Row]:
    made: list[Row] = []
    start = 0
    while start < len(rows):
        count = _LONG if len(made) % _LONG_EVERY == _LONG_EVERY - 1 else _SENTENCES
        sentences = [row["text"] for row in rows[start : start + count]]
        asked = sentences[len(made) % len(sentences)]
        words = sorted(re.findall(r"[A-Za-z]{4,}", asked), key=len, reverse=True)
        context = " ".join(sentences)
        word = next((word for word in words if len(re.findall(rf"\b{word}\b", context)) == 1), None)
        if word is not None:
            question = re.sub(rf"\b{word}\b", "what", asked).rstrip(". ") + "?"
            made.append({"question": question, "context": context, "answer": word})
        start += count
    return made
