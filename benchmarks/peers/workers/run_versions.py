"""Which packages an environment holds."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from protocol import Request, Worker, serve


def versions(request: Request) -> dict[str, Any]:
    """Versions of those of the named packages that are there."""
    found = importlib.metadata.distributions()
    here = {package.name.lower().replace("_", "-"): package.version for package in found}
    return {name: here[name] for name in request["names"] if name in here}


if __name__ == "__main__":
    serve(Worker(more={"versions": versions}))
