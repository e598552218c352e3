"""How rows of logits become words for masked places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class MaskSettings(Section):
    """How rows of logits become words for masked places.

    Attributes:
        output: The graph output with a logit for each token of the vocabulary, (batch, sequence, vocabulary) float32.
        mask_id: Id of the mask token.
        vocabulary: How many logits a row has.
        clean_up: Whether spaces before punctuation are taken out of decoded text, as transformers'
            ``clean_up_tokenization_spaces`` says.
    """

    key: ClassVar[str] = "masks"

    output: str
    mask_id: int
    vocabulary: int
    clean_up: bool

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        settings = cls(
            output=table.string("output"),
            mask_id=table.integer("mask_id"),
            vocabulary=table.integer("vocabulary", minimum=1, maximum=1 << 24),
            clean_up=table.boolean("clean_up"),
        )
        if settings.mask_id >= settings.vocabulary:
            raise table.error("mask_id", f"{settings.mask_id} is outside a vocabulary of {settings.vocabulary}")
        return settings

    def outputs(self) -> tuple[str, ...]:
        """The logits."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """How many tokens it chooses from."""
        return (("answers", f"words for masks, of {self.vocabulary} tokens"),)
