"""What token classification needs to know of the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class TokenSettings(Section):
    """What token classification needs to know of the tokenizer.

    Attributes:
        unk_id: Id of the unknown token, whose characters stand in its place; -1 where there is none.
    """

    key: ClassVar[str] = "tokens"

    unk_id: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(unk_id=table.integer("unk_id", minimum=-1))
