"""How a logit becomes the score of a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

ACTIVATIONS: Final = ("sigmoid", "tanh", "none")


@dataclass(frozen=True, slots=True)
class RankingSettings(Section):
    """How a logit becomes the score of a document.

    Attributes:
        output: The graph output with the logit of a query and a document, (batch, 1) float32.
        activation: What makes a score of it: one of :data:`ACTIVATIONS`.
    """

    key: ClassVar[str] = "ranking"

    output: str
    activation: str

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(output=table.string("output"), activation=table.string("activation", choices=ACTIVATIONS))

    def outputs(self) -> tuple[str, ...]:
        """The logit."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What a score is."""
        return (("answers", f"a score for each document ({self.activation})"),)
