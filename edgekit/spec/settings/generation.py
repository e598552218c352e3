"""How a model continues text: who starts, who stops, and what it does by default in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

KINDS: Final = ("decoder", "encoder-decoder")
MAX_IDS: Final = 4096
MAX_ID: Final = (1 << 31) - 1
MAX_TOKENS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class GenerationSettings(Section):
    """How a model continues text. Whatever has a default in ``generation_config.json`` is resolved here.

    Attributes:
        kind: ``decoder`` (components ``prefill`` and ``decode``) or ``encoder-decoder`` (and ``encoder``).
        layers: How many layers have a cache: ``past.0.key`` to ``past.{layers - 1}.value``.
        eos_ids: Ids that end a text; none where nothing does.
        pad_id: Id that fills a batch, and a row that has ended.
        bos_id: Id an empty prompt of a decoder starts with, if any.
        decoder_start_id: First id of an encoder-decoder's own text; None for a decoder.
        max_positions: Most tokens a decoder can hold, prompt included; 0 where nothing limits it.
        judged_places: Of a text whose answers are compared, how many tokens at most; see the runtime's ``raw``.
        do_sample: Whether it draws tokens by default, or takes the likeliest.
        num_beams: Beams by default; 1 where it searches none.
        temperature: Divides the logits.
        top_k: How many of the likeliest tokens to draw from; 0 for all.
        top_p: Share of probability to draw from; 1 for all.
        min_p: Least probability, relative to the likeliest; 0 for all.
        repetition_penalty: Divides the scores of tokens that were there before; 1 for none.
        no_repeat_ngram_size: Runs of this length that may not come again; 0 for none.
        max_length: Most tokens of the decoder's text, prompt included, if set.
        max_new_tokens: Most tokens beside the prompt, if set.
        min_length: Least tokens of the decoder's text, prompt included.
        min_new_tokens: Least tokens beside the prompt.
        forced_bos_id: Id that must follow the decoder's start, if any.
        forced_eos_ids: Ids of which the first must stand where ``max_length`` ends a text.
        suppress_ids: Ids never chosen.
        begin_suppress_ids: Ids not chosen as the first.
        prefixes: Text before the input, by task, as ``{"summarization": "summarize: "}``.
        clean_up: Whether decoded text loses the spaces before punctuation.
        chat_template: Path in the bundle of the chat template; empty where there is none.
        special_tokens: Names and texts that a chat template may use, as ``{"eos_token": "</s>"}``.
    """

    key: ClassVar[str] = "generation"

    kind: str
    layers: int
    eos_ids: tuple[int, ...]
    pad_id: int
    bos_id: int | None
    decoder_start_id: int | None
    max_positions: int
    judged_places: int
    do_sample: bool
    num_beams: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    max_length: int | None
    max_new_tokens: int | None
    min_length: int
    min_new_tokens: int
    forced_bos_id: int | None
    forced_eos_ids: tuple[int, ...]
    suppress_ids: tuple[int, ...]
    begin_suppress_ids: tuple[int, ...]
    prefixes: Mapping[str, str]
    clean_up: bool
    chat_template: str
    special_tokens: Mapping[str, str]

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        settings = cls(
            kind=table.string("kind", choices=KINDS),
            layers=table.integer("layers", minimum=1, maximum=4096),
            eos_ids=_ids(table, "eos_ids"),
            pad_id=table.integer("pad_id", maximum=MAX_ID),
            bos_id=_optional(table, "bos_id", MAX_ID),
            decoder_start_id=_optional(table, "decoder_start_id", MAX_ID),
            max_positions=table.integer("max_positions", maximum=MAX_TOKENS),
            judged_places=table.integer("judged_places", minimum=1, maximum=4096),
            do_sample=table.boolean("do_sample"),
            num_beams=table.integer("num_beams", minimum=1, maximum=1024),
            temperature=table.number("temperature", minimum=0, maximum=1e6),
            top_k=table.integer("top_k", maximum=MAX_ID),
            top_p=table.number("top_p", minimum=0, maximum=1),
            min_p=table.number("min_p", minimum=0, maximum=1),
            repetition_penalty=table.number("repetition_penalty", minimum=1e-6, maximum=1e6),
            no_repeat_ngram_size=table.integer("no_repeat_ngram_size", maximum=MAX_TOKENS),
            max_length=_optional(table, "max_length", MAX_TOKENS),
            max_new_tokens=_optional(table, "max_new_tokens", MAX_TOKENS),
            min_length=table.integer("min_length", maximum=MAX_TOKENS),
            min_new_tokens=table.integer("min_new_tokens", maximum=MAX_TOKENS),
            forced_bos_id=_optional(table, "forced_bos_id", MAX_ID),
            forced_eos_ids=_ids(table, "forced_eos_ids"),
            suppress_ids=_ids(table, "suppress_ids"),
            begin_suppress_ids=_ids(table, "begin_suppress_ids"),
            prefixes=table.string_map("prefixes"),
            clean_up=table.boolean("clean_up"),
            chat_template=table.string("chat_template"),
            special_tokens=table.string_map("special_tokens"),
        )
        if (settings.decoder_start_id is None) != (settings.kind == "decoder"):
            raise table.error("decoder_start_id", f"expected for an encoder-decoder alone, this is a {settings.kind}")
        return settings

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON knows them; what is not set is left out."""
        values = {name: value for name, value in Section.to_json(self).items() if value is not None}
        return values | {"prefixes": dict(self.prefixes), "special_tokens": dict(self.special_tokens)}

    def outputs(self) -> tuple[str, ...]:
        """Logits, and the first layer's cache."""
        return ("logits", "present.0.key", f"present.{self.layers - 1}.value")

    def files(self) -> tuple[str, ...]:
        """The chat template."""
        return (self.chat_template,) if self.chat_template else ()

    def facts(self) -> tuple[tuple[str, str], ...]:
        """How it generates by default."""
        how = f"draws tokens at temperature {self.temperature:g}" if self.do_sample else "takes the likeliest token"
        chat = (("chat", "has a chat template"),) if self.chat_template else ()
        return (("answers", f"text, token by token; {how}"), *chat)


def _optional(table: Table, key: str, maximum: int) -> int | None:
    return table.integer(key, maximum=maximum) if key in table else None


def _ids(table: Table, key: str) -> tuple[int, ...]:
    return table.integers(key, maximum=MAX_ID, max_items=MAX_IDS)
