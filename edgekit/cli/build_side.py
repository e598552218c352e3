"""Commands that need the build side say so where only the device side is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.errors import UsageError

INSTALL = "pip install 'edgekit[export]'"


@contextmanager
def build_side(what: str = "export") -> Iterator[None]:
    """Turn a missing library of the build side into an error that names it.

    Raises:
        UsageError: What the block imports is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "edgekit":
            raise
        raise UsageError(f"{what} needs {missing!r}, which is not installed", hint=INSTALL) from error
