"""What the references of text tasks share: a model of transformers that reads tokens, and its tokenizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.runtime.answers import Input
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import tokenizer
from edgekit.stages.export import Part
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line
from edgekit.stages.reference import Feeds, Reference, load_model

Asked: TypeAlias = tuple[str, str | None]
"""A text, and what stands beside it."""

# Of different lengths: a batch or length of 0 or 1 would be baked into the graph.
_SAMPLES: Final = ("Export once, prove it everywhere.", "A second, noticeably longer sentence fills the batch.")


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What the model gave for one text or pair.

    Attributes:
        arrays: Its outputs, without padding, float32.
        ids: Its token ids, (tokens,).
        sequence: 0 for tokens of the text, 1 for those beside it, -1 for added ones, (tokens,).
    """

    arrays: Mapping[str, npt.NDArray[np.float32]]
    ids: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextModel:
    """A loaded model with its tokenizer.

    Attributes:
        model: Of transformers, float32.
        tokenizer: Of transformers.
        max_length: Tokens a text is truncated to, special ones included.
        tokenizer_json: What a device reads.
    """

    model: Any
    tokenizer: Any
    max_length: int
    tokenizer_json: bytes

    def tokens(self, asked: Sequence[Asked], *, truncation: str, max_length: int | None = None) -> Any:
        """A padded batch, as torch tensors in transformers' BatchEncoding.

        Raises:
            DataError: The tokenizer cannot read or shorten one of them.
        """
        texts = [text for text, _ in asked]
        pairs = [pair for _, pair in asked] if asked[0][1] is not None else None
        try:
            return self.tokenizer(
                texts,
                pairs,
                padding=True,
                truncation=truncation,
                max_length=max_length or self.max_length,
                return_tensors="pt",
            )
        except Exception as error:
            raise DataError(f"a row of the data cannot be tokenized: {first_line(error)}") from error

    def settings(self, assets: str) -> TextSettings:
        """The manifest's section."""
        return TextSettings(
            tokenizer=f"{assets}/{tokenizer.FILE}",
            max_length=self.max_length,
            pad_id=int(self.tokenizer.pad_token_id or 0),
            pad_type_id=int(self.tokenizer.pad_token_type_id),
        )


def load_text_model(checkpoint: Checkpoint, task: str, work: Any) -> TextModel:
    """Load a model and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device.
    """
    folder = without_pickles(checkpoint.folder, work)
    model = load_model(folder, task)
    words = tokenizer.load_tokenizer(folder)
    return TextModel(
        model=model,
        tokenizer=words,
        max_length=tokenizer.max_length(words, model.config),
        tokenizer_json=tokenizer.tokenizer_json(words, checkpoint.folder),
    )


class TextReference(Reference):
    """A reference with one graph that reads texts or pairs.

    Attributes:
        text: The model.
        outputs: The graph's outputs, with the names of their leading axes.
        truncation: What is shortened in a pair that is too long.
        window: Tokens read at once, where the task reads fewer than the model can.
    """

    outputs: ClassVar[Mapping[str, tuple[str, ...]]]
    truncation: ClassVar[str] = "longest_first"
    window: ClassVar[int | None] = None
    pairs: ClassVar[bool] = False

    text: TextModel

    @abstractmethod
    def asked(self, item: Input) -> list[Asked]:
        """What the model is asked for one input."""

    def answered(self, inputs: Sequence[Input], batch_size: int) -> Iterator[list[Answered]]:
        """For each input what the model gives for each text or pair it is asked."""
        groups = [self.asked(item) for item in inputs]
        answered = self._run([one for group in groups for one in group], batch_size)
        for group in groups:
            yield [next(answered) for _ in group]

    def parts(self) -> Mapping[str, Part]:
        """The whole model."""
        asked = [(text, text[::-1] if self.pairs else None) for text in _SAMPLES]
        sample = dict(self._tokens(asked))
        axes: dict[str, tuple[str, ...]] = dict.fromkeys(sample, ("batch", "sequence"))
        return {"model": Part(self.text.model, sample, tuple(self.outputs), {**axes, **self.outputs})}

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {tokenizer.FILE: self.text.tokenizer_json}

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """The model's inputs."""
        batches = (self._tokens([one]) for item in inputs for one in self.asked(item))
        return {"model": [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]}

    def size(self, item: Input) -> int:
        """Tokens of the longest text or pair that the model is asked for an input."""
        return max(int(self._tokens([one])["input_ids"].shape[1]) for one in self.asked(item))

    def _tokens(self, asked: Sequence[Asked]) -> Any:
        limit = None if self.window is None else min(self.window, self.text.max_length)
        return self.text.tokens(asked, truncation=self.truncation, max_length=limit)

    def _run(self, asked: Sequence[Asked], batch_size: int) -> Iterator[Answered]:
        import torch

        with torch.inference_mode():
            for start in range(0, len(asked), batch_size):
                batch = self._tokens(asked[start : start + batch_size])
                found = self.text.model(**batch)
                outputs = {name: found[name].numpy().astype(np.float32) for name in self.outputs}
                lengths = batch["attention_mask"].sum(dim=1).tolist()
                for row, length in enumerate(lengths):
                    arrays = {
                        name: output[row, :length] if len(self.outputs[name]) == 2 else output[row]
                        for name, output in outputs.items()
                    }
                    ids = batch["input_ids"][row, :length].numpy()
                    yield Answered(arrays, ids, _sequence(batch.sequence_ids(row)[:length]))


def _sequence(numbers: Iterable[int | None]) -> npt.NDArray[np.int64]:
    return np.array([-1 if number is None else number for number in numbers], np.int64)
