"""How the vectors of an image and of a text become the score of that pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

ACTIVATIONS: Final = ("softmax", "sigmoid")


@dataclass(frozen=True, slots=True)
class ContrastSettings(Section):
    """How the vectors of an image and of a text become the score of that pair.

    Both are scaled to unit length; the logit is ``scale`` times their product plus ``bias``.

    Attributes:
        image: The graph output with images' vectors, (batch, dimension) float32.
        text: The graph output with texts' vectors, (batch, dimension) float32.
        dimension: Length of both.
        scale: Factor, after the exponential that checkpoints apply to theirs.
        bias: Added to every logit.
        activation: What makes scores of the logits of one image: one of :data:`ACTIVATIONS`.
        text_length: Tokens that every text is padded to; 0 pads to the longest only.
    """

    key: ClassVar[str] = "contrast"

    image: str
    text: str
    dimension: int
    scale: float
    bias: float
    activation: str
    text_length: int

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        return cls(
            image=table.string("image"),
            text=table.string("text"),
            dimension=table.integer("dimension", minimum=1, maximum=1 << 24),
            scale=table.number("scale", minimum=-1e6, maximum=1e6),
            bias=table.number("bias", minimum=-1e6, maximum=1e6),
            activation=table.string("activation", choices=ACTIVATIONS),
            text_length=table.integer("text_length", maximum=1 << 16),
        )

    def outputs(self) -> tuple[str, ...]:
        """The vectors of both."""
        return (self.image, self.text)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is scored."""
        return (
            ("answers", f"scores of pairs of an image and a text, by {self.activation}; vectors of {self.dimension}"),
        )
