"""A device: one product of a target's class with its limits, read from a TOML record in ``targets/devices/``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.spec.reader import Table

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """A product that people deploy to.

    Attributes:
        name: For example ``raspberry-pi-4``.
        summary: One line for people.
        target: Name of the target it is one of.
        threads: That run at once.
        memory_bytes: What a process there may use.
        disk_bytes: What there is for a bundle.
    """

    name: str
    summary: str
    target: str
    threads: int
    memory_bytes: int
    disk_bytes: int

    @classmethod
    def read(cls, name: str, table: Table, targets: tuple[str, ...]) -> Device:
        """Read a record.

        Args:
            name: The device's.
            table: The record.
            targets: Names that ``target`` may be.

        Raises:
            RecordError: A key is missing, unknown or of the wrong type or value.
        """
        device = cls(
            name=name,
            summary=table.string("summary"),
            target=table.string("target", choices=targets),
            threads=table.integer("threads", minimum=1, maximum=1024),
            memory_bytes=table.integer("memory_mb", minimum=1) * _MB,
            disk_bytes=table.integer("disk_mb", minimum=1) * _MB,
        )
        table.done()
        return device

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, as :meth:`read` takes them."""
        return {
            "summary": self.summary,
            "target": self.target,
            "threads": self.threads,
            "memory_mb": self.memory_bytes // _MB,
            "disk_mb": self.disk_bytes // _MB,
        }
