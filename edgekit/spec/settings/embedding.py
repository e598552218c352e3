"""How token states become one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

POOLINGS: Final = ("mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens")


@dataclass(frozen=True, slots=True)
class EmbeddingSettings(Section):
    """How token states become one vector.

    Attributes:
        output: The graph output that holds token states, (batch, sequence, dimension) float32.
        pooling: One of :data:`POOLINGS`, as sentence-transformers names them.
        normalize: Whether the vector is scaled to unit length.
        dimension: Length of the vector.
    """

    key: ClassVar[str] = "embedding"

    output: str
    pooling: str
    normalize: bool
    dimension: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(
            output=table.string("output"),
            pooling=table.string("pooling", choices=POOLINGS),
            normalize=table.boolean("normalize"),
            dimension=table.integer("dimension", minimum=1, maximum=1 << 24),
        )

    def outputs(self) -> tuple[str, ...]:
        """The token states."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """The form of the vectors."""
        length = "unit length" if self.normalize else "not normalised"
        return (("answers", f"{self.dimension} dimensions, {self.pooling} pooling, {length}"),)
