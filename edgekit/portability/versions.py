"""Other versions of ONNX Runtime on this machine: the oldest that a bundle says it needs, and the newest known."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability import wheels
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Job, Ran
from edgekit.portability.places import run_python
from edgekit.runtime.host import Host
from edgekit.runtime.selection import version_in_range
from edgekit.runtime.session import this_host
from edgekit.spec.progress import Progress

OLDEST: Final = "onnxruntime-oldest"
NEWEST: Final = "onnxruntime-newest"


class OtherOnnxruntime:
    """This machine with another ONNX Runtime, installed beside and not over its own.

    Args:
        which: :data:`OLDEST` or :data:`NEWEST`.
        needed: The bundle's range.
        cache: Where it is kept.
    """

    kind = "onnxruntime"

    def __init__(self, which: str, needed: str, cache: Path) -> None:
        self._which = which
        self._needed = needed
        self._cache = cache
        self._packages: Path | None = None

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Install that version into the cache.

        Raises:
            HostError: No pinned version is in the bundle's range, or it cannot be installed for this Python.
        """
        version = self._version()
        self._packages = wheels.onnxruntime(version, self._cache, progress)
        return {"onnxruntime": version, "cpu": self.host().cpu_name}

    def host(self) -> Host:
        """This machine."""
        return this_host()

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run it with that version."""
        assert self._packages is not None, "prepared"  # noqa: S101 - the protocol's order
        return run_python([sys.executable], job, folder, limits, before=(self._packages,))

    def _version(self) -> str:
        fitting = [version for version in wheels.onnxruntime_versions() if version_in_range(version, self._needed)]
        if not fitting:
            raise HostError(
                f"no onnxruntime that edgekit has pinned is in the bundle's range {self._needed}",
                hint=f"pinned are {', '.join(wheels.onnxruntime_versions())}",
            )
        return fitting[0] if self._which == OLDEST else fitting[-1]
