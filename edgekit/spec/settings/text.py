"""How text becomes input ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class TextSettings(Section):
    """How text becomes input ids.

    Attributes:
        tokenizer: Path of the ``tokenizer.json`` inside the bundle.
        max_length: Tokens, special ones included; longer input is truncated on the right.
        pad_id: Id used to fill a batch.
        pad_type_id: Token type id of padding.
    """

    key: ClassVar[str] = "text"

    tokenizer: str
    max_length: int
    pad_id: int
    pad_type_id: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(
            tokenizer=table.string("tokenizer"),
            max_length=table.integer("max_length", minimum=1, maximum=1 << 24),
            pad_id=table.integer("pad_id"),
            pad_type_id=table.integer("pad_type_id"),
        )

    def files(self) -> tuple[str, ...]:
        """The tokenizer."""
        return (self.tokenizer,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """How much text it reads."""
        return (("reads", f"text, up to {self.max_length} tokens"),)
