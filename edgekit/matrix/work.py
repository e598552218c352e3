"""The work of one job, in a process that an engine started for it: into a folder, with an outcome, whatever happens."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgekit.errors import CheckpointError, EdgekitError, HostError
from edgekit.matrix import keys
from edgekit.matrix.hints import in_the_file
from edgekit.matrix.outcome import Failure, Outcome, of_bundle
from edgekit.runtime.host import THREADS_VARIABLE
from edgekit.runtime.memory import peak_bytes
from edgekit.runtime.session import this_host
from edgekit.spec.progress import Silent
from edgekit.stages.request import BuildRequest

BUNDLE: Final = "bundle"
EVIDENCE: Final = f"{BUNDLE}.evidence"
_HERE: Final = "{bundle}"  # stands for the bundle's folder in what a failure says
_TRACE: Final = 8000


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do.

    Attributes:
        name: For people.
        stage: :data:`keys.ORIGINAL` or :data:`keys.CELL`.
        request: What is built; its output and original are set where the work is done.
        files: Digest of the checkpoint's files as they were when the job was made.
        tools: :func:`keys.tools` then and there.
        memory_bytes: What it may take.
        resources: What a cluster's node must offer.
    """

    name: str
    stage: str
    request: BuildRequest
    files: str
    tools: Mapping[str, str]
    memory_bytes: int
    resources: Mapping[str, float] = field(default_factory=dict)


Perform = Callable[[Job, Path | None, Path, int], None]
"""What an engine calls in another process: :func:`perform`, or a test's stand-in for it."""


def perform(job: Job, original: Path | None, folder: Path, threads: int) -> None:
    """Do a job; its files and its outcome are in the folder then.

    Args:
        job: What to do.
        original: What an earlier job kept of the model; None for that job itself.
        folder: An empty one of this machine.
        threads: That it may take.
    """
    start = time.monotonic()
    try:
        _limit_threads(threads)
        outcome = _perform(job, original, folder)
    except EdgekitError as error:
        outcome = Outcome(failure=_moved(Failure.of(error), folder))
    except Exception as error:  # noqa: BLE001 - the worker's boundary: one cell's bug must not stop the others
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        trace = "".join(traceback.format_exception(error))[-_TRACE:]
        hint = "nobody foresaw this; matrix.json holds the traceback to report it with"
        failure = Failure(EdgekitError.kind, EdgekitError.exit_code, message, hint, trace)
        outcome = Outcome(failure=_moved(failure, folder))
    host = this_host()
    place = f"{host.cpu_name or 'unknown CPU'} ({host.architecture}, {host.system})"
    seconds = time.monotonic() - start
    replace(outcome, seconds=seconds, peak_bytes=peak_bytes(), place=place).write(folder)


def located(failure: Failure, bundle: Path) -> Failure:
    """A failure whose words name the folder where the bundle would be, and keys of the matrix's file for flags."""
    message, hint = (in_the_file(text).replace(_HERE, str(bundle)) for text in (failure.message, failure.hint))
    return replace(failure, message=message, hint=hint)


def _perform(job: Job, original: Path | None, folder: Path) -> Outcome:
    from edgekit import pipeline  # the build side: seconds, and who only looks results up does without

    _check_tools(job)
    if job.files != (found := keys.request_files(job.request)):
        raise CheckpointError(
            f"{job.request.model}: its files changed since the matrix was begun, or are others on this machine"
            f" ({found[:12]} instead of {job.files[:12]})",
            hint="run it again; every node of a cluster must see the same files",
        )
    if job.stage == keys.ORIGINAL:
        pipeline.keep_original(job.request, folder, Silent())
        return Outcome()
    request = replace(job.request, output=folder / BUNDLE, original=original)
    result = pipeline.build(request, Silent())
    return of_bundle(result.manifest, result.evidence)


def _check_tools(job: Job) -> None:
    """Refuse to make what would go into the cache as another version's."""
    here = keys.tools()
    other = [f"{name} {here.get(name)}" for name in job.tools if job.tools[name] != here.get(name)]
    if other:
        raise HostError(
            f"this node has {', '.join(other)}; the matrix was begun with"
            f" {', '.join(f'{name} {job.tools[name]}' for name in job.tools if job.tools[name] != here.get(name))}",
            hint="install the same versions on every node",
        )


def _limit_threads(threads: int) -> None:
    import torch  # slow to import, and a process that only waits for workers does without

    os.environ[THREADS_VARIABLE] = str(threads)
    torch.set_num_threads(threads)


def _moved(failure: Failure, folder: Path) -> Failure:
    message, hint = (text.replace(str(folder / BUNDLE), _HERE) for text in (failure.message, failure.hint))
    return replace(failure, message=message, hint=hint)
