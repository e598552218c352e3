"""Every error edgekit raises on purpose, with the exit code the command line ends with.

One tree, so that a program can catch :class:`EdgekitError` and a CI job can tell parity from
incompatibility by the exit code alone. A message names the file, key or node and what was
expected; ``hint`` is the next thing to try.
"""

from __future__ import annotations

from typing import ClassVar


class EdgekitError(Exception):
    """Base of the tree. ``exit_code`` 1 is kept for what nobody foresaw.

    Args:
        message: What is wrong, naming the file, key or node.
        hint: The next thing to try, one sentence.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "unexpected"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EdgekitError):
    """The command or call asks for something that does not exist."""

    exit_code = 2
    kind = "usage"


class InputError(EdgekitError):
    """What was handed in (checkpoint, data, record, text) cannot be used."""

    exit_code = 3
    kind = "input"


class CheckpointError(InputError):
    """A model folder or hub id is no checkpoint edgekit can read safely."""

    kind = "checkpoint"


class DataError(InputError):
    """A data file for calibration or judging is missing, broken or unusable."""

    kind = "data"


class RecordError(InputError):
    """A TOML or JSON record breaks its schema; the message holds the key path."""

    kind = "record"


class OutputError(InputError):
    """The output folder cannot be written: it exists, is read-only, or the disk is full."""

    kind = "output"


class RegistryError(InputError):
    """A registry cannot be reached, refuses, or answers something that its specification does not know."""

    kind = "registry"


class ExportError(EdgekitError):
    """The model could not be turned into a graph, or a pass did not do what it says."""

    exit_code = 4
    kind = "export"


class ParityError(EdgekitError):
    """A variant does not answer like the reference."""

    exit_code = 5
    kind = "parity"


class BudgetError(EdgekitError):
    """Size, latency or memory is over the limit asked for."""

    exit_code = 6
    kind = "budget"


class IntegrityError(EdgekitError):
    """A bundle is not, byte for byte, what its manifest lists."""

    exit_code = 7
    kind = "integrity"


class HostError(EdgekitError):
    """The bundle is sound, but this host cannot run it."""

    exit_code = 8
    kind = "host"


class InconclusiveError(EdgekitError):
    """Nothing failed, but the evidence is too thin for a verdict."""

    exit_code = 9
    kind = "inconclusive"
