"""Which outputs describe an image, and how they become one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class FeatureSettings(Section):
    """Which outputs describe an image, and how they become one vector.

    Attributes:
        states: The graph output with the last hidden states: (batch, patches, dimension), or (batch, dimension, rows,
            columns) from a convolutional network; float32.
        pooled: The graph output with one vector per image from the model's own pooler; empty where it has none, and
            the mean of the states stands for it.
        dimension: Length of that vector.
    """

    key: ClassVar[str] = "features"

    states: str
    pooled: str
    dimension: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(
            states=table.string("states"),
            pooled=table.string("pooled"),
            dimension=table.integer("dimension", minimum=1, maximum=1 << 24),
        )

    def outputs(self) -> tuple[str, ...]:
        """The states, and what the pooler gives."""
        return (self.states, self.pooled) if self.pooled else (self.states,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Where the vector comes from."""
        return (
            (
                "answers",
                f"vectors of {self.dimension}, {'pooled by the model' if self.pooled else 'mean of its states'}",
            ),
        )
