"""How two rows of logits become an answer from a context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class AnsweringSettings(Section):
    """How two rows of logits become an answer from a context.

    Attributes:
        start: The graph output that says where an answer begins, (batch, sequence) float32.
        end: The one that says where it ends.
        no_answer_id: Id of the token that stands for "no answer"; -1 where there is none.
    """

    key: ClassVar[str] = "answering"

    start: str
    end: str
    no_answer_id: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(
            start=table.string("start"),
            end=table.string("end"),
            no_answer_id=table.integer("no_answer_id", minimum=-1),
        )

    def outputs(self) -> tuple[str, ...]:
        """Both rows."""
        return (self.start, self.end)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Where answers come from."""
        return (("answers", "spans of a context"),)
