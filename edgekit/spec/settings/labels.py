"""How a row of logits becomes labels with scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

ACTIVATIONS: Final = ("softmax", "sigmoid", "none")
MAX_LABELS: Final = 1 << 20
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class LabelSettings(Section):
    """How a row of logits becomes labels with scores.

    Attributes:
        output: The graph output with a logit for each label on its last axis, float32.
        labels: Their names, in the order of the logits.
        activation: What makes scores of logits: one of :data:`ACTIVATIONS`.
    """

    key: ClassVar[str] = "labels"

    output: str
    labels: tuple[str, ...]
    activation: str

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        labels = table.strings("labels", max_items=MAX_LABELS)
        if not labels:
            raise table.error("labels", "expected at least one")
        return cls(
            output=table.string("output"),
            labels=labels,
            activation=table.string("activation", choices=ACTIVATIONS),
        )

    def outputs(self) -> tuple[str, ...]:
        """The logits."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """How many labels, and the first of them."""
        names = ", ".join(self.labels[:_SHOWN]) + (", …" if len(self.labels) > _SHOWN else "")
        return (("answers", f"{len(self.labels)} labels: {names}"),)
