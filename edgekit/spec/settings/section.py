"""A section: one named part of a manifest's ``settings``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar, Self

from edgekit.spec.reader import Table


class Section(ABC):
    """A frozen dataclass that is written under its ``key`` and read back from there.

    A new section is one file beside this one and one entry in :data:`edgekit.spec.manifest.SECTIONS`.
    """

    __slots__ = ()

    key: ClassVar[str]

    @classmethod
    @abstractmethod
    def read(cls, table: Table) -> Self:
        """Take every field from ``table``, each within its limits; the caller closes the table.

        Raises:
            RecordError: A field is missing or has a value it cannot have.
        """

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON knows them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]  # a dataclass
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def outputs(self) -> tuple[str, ...]:
        """Names of graph outputs it reads: some component must have them."""
        return ()

    def files(self) -> tuple[str, ...]:
        """Paths in the bundle that it names: they must be listed."""
        return ()

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What a person wants to know, as pairs of a word and a phrase."""
        return ()
