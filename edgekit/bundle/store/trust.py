"""Where a bundle's origin is judged: ``Store.install`` asks a policy before it stages, and records its answer."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.bundle.reading import Bundle
from edgekit.bundle.trust import SIGNED, Trust

Policy = Callable[[Bundle], str]
"""What the store records as the version's trust; raises IntegrityError for a bundle that is not to be installed."""


def policy_of(trust: Trust) -> Policy:
    """The policy that asks for the signatures a device trusts; it records whose there was, or that there was none."""

    def policy(bundle: Bundle) -> str:
        standing = trust.require(bundle)
        return f"signed by {standing.key}" if standing.state == SIGNED else standing.state

    return policy
