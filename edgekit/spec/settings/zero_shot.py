"""How entailment becomes a score for a label chosen at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section


@dataclass(frozen=True, slots=True)
class ZeroShotSettings(Section):
    """How entailment becomes a score for a label chosen at run time.

    Attributes:
        output: The graph output with a logit for each class of inference, (batch, classes) float32.
        classes: How many there are.
        entailment: The one that says a hypothesis follows from the text.
    """

    key: ClassVar[str] = "zero_shot"

    output: str
    classes: int
    entailment: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        classes = table.integer("classes", minimum=2, maximum=1 << 10)
        return cls(
            output=table.string("output"),
            classes=classes,
            entailment=table.integer("entailment", maximum=classes - 1),
        )

    def outputs(self) -> tuple[str, ...]:
        """The logits."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it chooses from."""
        return (("answers", "scores for labels given with each text"),)
