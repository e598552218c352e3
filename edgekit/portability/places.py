"""What an environment is, and those that run Python on this machine's own processor."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edgekit.portability import device_side
from edgekit.portability.children import Limits, run_limited
from edgekit.portability.jobs import Job, Ran, read_ran, write_job
from edgekit.runtime.host import Host
from edgekit.runtime.session import this_host
from edgekit.spec.progress import Progress

# What a child is given of this process's environment: enough to start, nothing that changes answers.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")


class Place(Protocol):
    """An environment that a bundle can be run in.

    Attributes:
        kind: One word for it, such as ``qemu``.
    """

    kind: str

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Get ready, downloads included, and say what it is.

        Raises:
            HostError: It cannot be had on this machine; the hint names what to install.
        """

    def host(self) -> Host:
        """The machine it stands for, by which a variant is chosen."""

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run the probes, then the bundle.

        Args:
            job: What to run.
            folder: An empty one to work in.
            limits: What it may take.
        """


class Native:
    """This machine, in a process of its own.

    Args:
        packages: Folders that go before this Python's packages, such as one with another ONNX Runtime.
    """

    kind = "native"

    def __init__(self, packages: Sequence[Path] = ()) -> None:
        self._packages = packages

    def prepare(self, progress: Progress) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's name
        """Nothing to get."""
        host = self.host()
        return {"cpu": host.cpu_name, "features": " ".join(sorted(host.cpu_features))}

    def host(self) -> Host:
        """This machine."""
        return this_host()

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run it in this Python."""
        return run_python([sys.executable], job, folder, limits, before=self._packages)


def run_python(
    interpreter: Sequence[str | os.PathLike[str]],
    job: Job,
    folder: Path,
    limits: Limits,
    *,
    before: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Ran:
    """Run a job in a Python, started by whatever command starts it.

    Args:
        interpreter: The command, an emulator's included.
        job: What to run.
        folder: An empty one to work in.
        limits: What it may take.
        before: Folders of packages that go before the interpreter's own.
        variables: More environment variables.
    """
    staged = folder / "device-side"
    script = device_side.stage(staged)
    work = folder / "work"
    work.mkdir()
    path = os.pathsep.join(map(str, (staged, *before)))
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    ended = run_limited(
        [*interpreter, "-s", script, write_job(job, work)],
        limits,
        log=folder / "log.txt",
        environment=environment | dict(variables or {}),
    )
    return read_ran(job, work, ended)
