"""How a build tells what it is doing. The command line draws it; a program may stay silent."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """What the pipeline calls while it works. Stages do not nest."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Enter a stage, such as ``export`` or ``int8-dynamic+smooth``; it ends, or fails, with the block."""

    def note(self, text: str) -> None:
        """Keep a line, such as why a recipe was left."""

    def advance(self, done: int, total: int) -> None:
        """Tell how far the present stage is, in units of its own."""


class Silent:
    """A :class:`Progress` that says nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the protocol's name
        """Do nothing."""
        return nullcontext()

    def note(self, text: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""
