"""A job for an environment that has a Python, and what came of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekit.portability.children import End, Ended
from edgekit.portability.probes import Arrays, KnownGood
from edgekit.portability.report import Probe
from edgekit.runtime.answers import Raw
from edgekit.runtime.golden import Golden, write_golden

JOB: Final = "job.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What an environment is asked.

    Attributes:
        bundle: Its folder.
        variant: The variant to run.
        task: The bundle's task.
        probes: To be run first.
        sample: Inputs to answer then; what they expect is not looked at there.
        as_device: Whether the environment decides as a device does whether it can run the variant.
        provider: Execution provider; the variant's own where None.
    """

    bundle: Path
    variant: str
    task: str
    probes: Sequence[KnownGood]
    sample: Sequence[Golden]
    as_device: bool = True
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are no answers: a plain reason, the next thing to try, and whether the environment is at fault."""

    reason: str
    hint: str = ""
    of_environment: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """What an environment gave.

    Attributes:
        facts: What it says it is.
        probes: How the probes came out.
        answers: To the sample, in its order; empty where it came to none.
        failure: What went wrong, if something did.
        peak_bytes: Largest resident memory, where known.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    answers: tuple[Raw, ...] = ()
    failure: Failure | None = None
    peak_bytes: int | None = None


def write_job(job: Job, folder: Path) -> Path:
    """Write a job for :mod:`edgekit.portability.inside`; what it gives will lie in the same folder."""
    for probe in job.probes:
        (folder / f"probe-{probe.file}.onnx").write_bytes(probe.model)
        np.savez(folder / f"probe-{probe.file}.in.npz", **probe.feeds)  # type: ignore[arg-type]  # numpy's stub
    (folder / "sample.json").write_bytes(write_golden(job.task, job.sample))
    document = {
        "bundle": str(job.bundle),
        "variant": job.variant,
        "as_device": job.as_device,
        "provider": job.provider,
        "probes": [probe.file for probe in job.probes],
    }
    (folder / JOB).write_text(json.dumps(document), encoding="utf-8")
    return folder / JOB


def read_ran(job: Job, folder: Path, ended: Ended) -> Ran:
    """Read what a child left, wherever it came to its end."""
    events = read_events(folder / "events.jsonl")
    told = {event["event"]: event for event in events}
    facts = {name: str(value) for name, value in told.get("libraries", {}).items() if name != "event"}
    probes = tuple(probe.judge(_arrays(folder / f"probe-{probe.file}.out.npz")) for probe in job.probes)
    probed = "probed" in told
    failure = failure_of(ended, told)
    answers = tuple(_arrays(folder / f"answer-{number}.npz") for number in range(len(job.sample)))
    if failure is None and not all(answers):
        failure = Failure("ended without an answer to every input")
    return Ran(
        facts=facts,
        probes=probes if probed or any(probe.error is not None for probe in probes) else (),
        answers=() if failure else answers,
        failure=failure,
        peak_bytes=told.get("done", {}).get("peak_bytes"),
    )


def failure_of(ended: Ended, told: Mapping[str, Any]) -> Failure | None:
    """What an end and what was told before it mean; None where the work was done."""
    probed = "probed" in told
    if "error" in told:
        error = told["error"]
        return Failure(error["message"], error["hint"])
    if "memory" in told:
        return Failure("ran out of memory", "a smaller variant, or a larger limit")
    where = _where(told)
    if ended.how is End.FINISHED:
        return None if "done" in told else Failure(f"ended {where} without a word", of_environment=not probed)
    words = {
        End.HUNG: f"hung {where}: {ended.detail}",
        End.OUT_OF_MEMORY: f"ran out of memory {where}: {ended.detail}",
        End.CRASHED: f"crashed {where}: {ended.detail}",
        End.FAILED: f"failed {where}: {last_line(ended.log) or ended.detail}",
    }
    return Failure(words[ended.how], of_environment=not probed)


def _where(told: Mapping[str, Any]) -> str:
    if "opened" in told:
        return "while it answered"
    if "probed" in told:
        return "while it opened the variant"
    if "libraries" in told:
        return "in the probes, before the bundle was opened"
    return "before the bundle was opened"


def last_line(text: str) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events that were told, up to one that was cut off."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:  # cut off by the end of the process
            break
    return events


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # not written, or cut off
        return {}
