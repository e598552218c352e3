"""Where a bundle's origin is judged: ``Store.install`` asks a policy before it stages, and records its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekit.bundle.reading import Bundle

Policy = Callable[[Bundle], str]
"""What the store records as the version's trust; raises IntegrityError for a bundle that is not to be installed."""

UNSIGNED: Final = "unsigned"


def allow_unsigned(bundle: Bundle) -> str:  # noqa: ARG001 - a policy takes the bundle
    """The policy that asks for no signature; the store says so of the version."""
    return UNSIGNED
