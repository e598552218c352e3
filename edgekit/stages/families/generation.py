"""Text generation: causal language models, and encoder-decoders from text to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.runtime.answers import Input, Raw
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import data, generation_defaults, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.generation_parts import generation_parts
from edgekit.stages.pickles import without_pickles
from edgekit.stages.reference import Case, Feeds, Reference, load_model

AT_ONCE: Final = 8  # texts; a batch's logits are the largest thing in memory
MAX_CASES: Final = 400  # a megabyte of logits each, from the reference and from the variant
TARGETS: Final = ("target", "summary", "translation")  # columns for what a text is turned into


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load a generating model and its tokenizer.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: The tokenizer cannot run on a device.
    """
    folder = without_pickles(checkpoint.folder, work)
    model = load_model(folder, task)
    words = tokenizer.load_tokenizer(folder)
    return GenerationReference(
        task=task,
        model=model,
        tokenizer=words,
        max_length=tokenizer.max_length(words, model.config.get_text_config(encoder=True)),
        tokenizer_json=tokenizer.tokenizer_json(words, checkpoint.folder, generates=True),
    )


@dataclass(frozen=True, slots=True)
class _Forced:
    """A text that a model is made to go along, and where it is asked what comes next.

    Attributes:
        source: Ids for the encoder; empty for a decoder alone.
        ids: Ids the decoder reads.
        places: Which of them it is asked after, in order.
        truth: What comes next there; -1 where the text ends.
    """

    source: tuple[int, ...]
    ids: tuple[int, ...]
    places: tuple[int, ...]
    truth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GenerationReference(Reference):
    """A loaded generating model.

    It is judged under teacher forcing: the model reads a text that is given, and its logits for each next token are
    compared, so that one early difference does not make everything after it incomparable. Of a text alone, a decoder
    is asked after its last tokens; an encoder-decoder is made to say it again, or the row's ``target``.
    """

    task: str
    model: Any
    tokenizer: Any
    max_length: int
    tokenizer_json: bytes

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """Logits (places, vocabulary) for the tokens that come next."""
        forced = [self._forced(item) for item in inputs]
        rows: list[Raw] = []
        at_once = min(batch_size, AT_ONCE)
        for start in range(0, len(forced), at_once):
            rows += self._ask(forced[start : start + at_once])
        return rows

    def parts(self) -> Mapping[str, Part]:
        """Prefill and decode, and for an encoder-decoder its encoder."""
        return generation_parts(self.model)

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and generation."""
        template = f"{assets}/{generation_defaults.CHAT_TEMPLATE}" if self._chat_template() else ""
        return (
            TextSettings(
                tokenizer=f"{assets}/{tokenizer.FILE}",
                max_length=self.max_length,
                pad_id=generation_defaults.pad_id(self.model, self.tokenizer),
                pad_type_id=0,
            ),
            generation_defaults.generation_settings(self.model, self.tokenizer, self.task, template),
        )

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer, and the chat template where it has one."""
        template = self._chat_template()
        return {
            tokenizer.FILE: self.tokenizer_json,
            **({generation_defaults.CHAT_TEMPLATE: template} if template else {}),
        }

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row, with its target where the row has one; the tokens of the text itself are the truth."""
        cases = []
        for row in rows[:MAX_CASES]:
            targets = [row[name] for name in TARGETS if name in row]
            asked = {"text": row["text"]} | ({"target": targets[0]} if targets else {})
            forced = self._forced(asked)
            cases.append(Case(asked, len(forced.source or forced.ids), {"logits": np.array(forced.truth, np.int64)}))
        return cases

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """What the encoder and the prefill graph read of each text; a step of the decode graph reads the same."""
        found: dict[str, list[Feeds]] = {}
        for forced in map(self._forced, inputs):
            ids = np.array([forced.ids], np.int64)
            if not forced.source:
                places = np.arange(ids.shape[1])[None]
                read = {"attention_mask": np.ones_like(ids), "position_ids": places, "logit_positions": places}
                found.setdefault("prefill", []).append({"input_ids": ids, **read})
                continue
            source = np.array([forced.source], np.int64)
            mask = np.ones_like(source)
            found.setdefault("encoder", []).append({"input_ids": source, "attention_mask": mask})
            states = self._encoded(source)
            found.setdefault("prefill", []).append(
                {"input_ids": ids, "encoder_hidden_states": states, "encoder_attention_mask": mask}
            )
        return found

    def _encoded(self, source: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        import torch

        ids = torch.from_numpy(source)
        with torch.inference_mode():
            states = self.model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return np.asarray(states.numpy(), np.float32)

    def builtin(self) -> Dataset:
        """The built-in English corpus."""
        return data.builtin_texts()

    def _chat_template(self) -> bytes:
        return generation_defaults.chat_template(self.tokenizer)

    def golden(self, asked: Input) -> Input:
        """The same text, judged in fewer places: a row of logits is as wide as the vocabulary."""
        return {**asked, "places": generation_defaults.golden_places(self._vocabulary())}

    def _vocabulary(self) -> int:
        return int(self.model.config.get_text_config(decoder=True).vocab_size)

    def _places(self, item: Input) -> int:
        return min(
            generation_defaults.judged_places(self._vocabulary()),
            int(item.get("places", generation_defaults.MAX_PLACES)),
        )

    def _encode(self, text: str, *, special: bool = True) -> tuple[int, ...]:
        ids = self.tokenizer(text, add_special_tokens=special, truncation=True, max_length=self.max_length)["input_ids"]
        return tuple(int(token) for token in ids)

    def _forced(self, item: Input) -> _Forced:
        if self.model.config.is_encoder_decoder:
            return self._forced_encoder_decoder(item)
        prompt = self._encode(item["text"]) or self._begin(item["text"])
        ids, wanted = prompt, self._places(item)
        if "target" in item:
            target = self._encode(item["target"], special=False)[:wanted]
            ids = (*prompt, *target)[: self.max_length]
            wanted = len(ids) - len(prompt)
        count = max(min(wanted, len(ids) - 1), 1)
        first = max(len(ids) - 1 - count, 0)
        places = tuple(range(first, first + count))
        return _Forced((), ids, places, tuple(ids[place + 1] if place + 1 < len(ids) else -1 for place in places))

    def _forced_encoder_decoder(self, item: Input) -> _Forced:
        source = self._encode(item["text"])
        labels = self._encode(item.get("target", item["text"]))[: self._places(item)]
        start = generation_defaults.decoder_start(self.model)
        return _Forced(source, (start, *labels[:-1]), tuple(range(len(labels))), labels)

    def _begin(self, text: str) -> tuple[int, ...]:
        bos = self.model.generation_config.bos_token_id
        if bos is None:
            raise DataError(f"{text!r} has no tokens, and the model has none to begin with")
        return (int(bos),)

    def _ask(self, batch: Sequence[_Forced]) -> list[Raw]:
        import torch

        from edgekit.stages.generation_modules import kept_positions

        ids, mask = self._padded([forced.ids for forced in batch])
        width = max(len(forced.places) for forced in batch)
        places = torch.tensor([(forced.places + (0,) * width)[:width] for forced in batch])
        if batch[0].source:
            source, source_mask = self._padded([forced.source for forced in batch])
            asked = {"input_ids": source, "attention_mask": source_mask, "decoder_input_ids": ids}
        else:
            asked = {"input_ids": ids, "attention_mask": mask}
        with torch.inference_mode(), kept_positions(self.model.get_output_embeddings(), places):
            logits = self.model(**asked, use_cache=False).logits.numpy().astype(np.float32)
        return [{"logits": row[: len(forced.places)].copy()} for row, forced in zip(logits, batch, strict=True)]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Ids and mask, padded on the right: what stands behind a text cannot change it."""
        import torch

        width = max(map(len, rows))
        ids: npt.NDArray[np.int64] = np.full(
            (len(rows), width), generation_defaults.pad_id(self.model, self.tokenizer), np.int64
        )
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)
