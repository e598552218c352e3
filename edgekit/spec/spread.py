"""How the answers to single inputs scatter around the reference's: a histogram, and the inputs that fared worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekit.spec.reader import Table

# Distances, one less the agreement, from the noise of float32 to opposite answers: the ends of the histogram's bins.
EDGES: Final = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 2.0)
WORST: Final = 8
TEXT_LENGTH: Final = 400  # characters of an input that are kept


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the inputs whose answers are farthest from the reference's.

    Attributes:
        place: Its number among the inputs judged, from 0.
        agreement: Of the answers; see :func:`edgekit.runtime.answers.agreement`.
        texts: Its fields that are texts, shortened.
    """

    place: int
    agreement: float
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Spread:
    """The agreement of each input's answer with the reference's.

    Attributes:
        counts: Inputs by distance, up to each of :data:`EDGES`.
        median: Of the agreement.
        worst: From the worst on.
    """

    counts: tuple[int, ...]
    median: float
    worst: tuple[Worst, ...]

    def to_json(self) -> dict[str, Any]:
        """As evidence, floats rounded to 6 digits."""
        return {
            "edges": list(EDGES),
            "counts": list(self.counts),
            "median": round(self.median, 6),
            "worst": [
                {"place": one.place, "agreement": round(one.agreement, 6), "texts": dict(one.texts)}
                for one in self.worst
            ],
        }

    @classmethod
    def read(cls, table: Table) -> Spread:
        """What :meth:`to_json` gives.

        Raises:
            RecordError: It is something else.
        """
        counts = table.integers("counts")
        if len(counts) != len(EDGES):
            raise table.error("counts", f"expected {len(EDGES)} numbers")
        return cls(
            counts=counts,
            median=table.number("median"),
            worst=tuple(
                Worst(item.integer("place"), item.number("agreement"), item.string_map("texts"))
                for item in table.tables("worst", max_items=WORST)
            ),
        )


def spread(agreements: Sequence[float], inputs: Sequence[Mapping[str, Any]]) -> Spread:
    """Sum up how single inputs fared.

    Args:
        agreements: Of each input's answer with the reference's, at least one.
        inputs: What was asked.
    """
    counts = [0] * len(EDGES)
    for agreement in agreements:
        counts[next(place for place, edge in enumerate(EDGES) if 1 - agreement <= edge or edge == EDGES[-1])] += 1
    ordered = sorted(range(len(agreements)), key=lambda place: (agreements[place], place))
    middle = len(ordered) // 2
    return Spread(
        tuple(counts),
        (agreements[ordered[middle]] + agreements[ordered[-middle - 1]]) / 2,
        tuple(Worst(place, agreements[place], _texts(inputs[place])) for place in ordered[:WORST]),
    )


def _texts(asked: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if len(value) <= TEXT_LENGTH else f"{value[: TEXT_LENGTH - 3]}..."
        for name, value in asked.items()
        if isinstance(value, str)
    }
