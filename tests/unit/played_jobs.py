"""Stands for the work of a matrix's jobs: seconds instead of minutes, and every way in which a job can end.

Jobs tell what they did in a folder, whose path is the request's token: a line in ``log`` each. A file there named
after the job (``/`` as ``_``) and an end makes it go wrong: ``.crash`` (once), ``.dies`` (always), ``.hangs``,
``.slow``, ``.large``, ``.bulky`` (an original of two megabytes), ``.raises``, ``.parity``, ``.input``, ``.bug``.
"""

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

from edgekit.errors import EdgekitError, InputError, ParityError
from edgekit.matrix import keys, work
from edgekit.matrix.outcome import Failure, Outcome, Shipped
from edgekit.runtime.host import usable_threads

from .shown_bundle import shown_evidence, write_shown_bundle

LARGE_BYTES = 400_000_000
BULKY_BYTES = 2_000_000
SLOW_S = 3.0
FAILURES = {
    "parity": Failure.of(ParityError("too far off")),
    "input": Failure.of(InputError("no such file")),
    "bug": Failure(EdgekitError.kind, 1, "KeyError: 'x'", trace="Traceback: …"),
}


def perform(job, original, folder, threads):
    """As :func:`edgekit.matrix.work.perform`."""
    os.environ["EDGEKIT_THREADS"] = str(threads)
    plays = Path(job.request.token)
    name = job.name.replace("/", "_")
    start = time.monotonic()
    with (plays / "log").open("a") as stream:
        stream.write(json.dumps({"job": job.name, "pid": os.getpid(), "threads": usable_threads()}) + "\n")
    _go_wrong(plays, name)
    outcome = Outcome()
    for end, failure in FAILURES.items():
        if (plays / f"{name}.{end}").exists():
            outcome = Outcome(failure=failure)
    if outcome.failure and outcome.failure.kind == "parity":
        (folder / work.EVIDENCE).mkdir()
        (folder / work.EVIDENCE / "parity.json").write_text("{}")
    if outcome.failure is None:
        outcome = _made(job, original, folder)
        if (plays / f"{name}.bulky").exists():
            (folder / "graphs" / "weights").write_bytes(bytes(BULKY_BYTES))
    dataclasses.replace(outcome, seconds=time.monotonic() - start, place="a played CPU").write(folder)


def _go_wrong(plays, name):
    """Die, hang, be slow, or take memory."""
    if (plays / f"{name}.crash").exists():
        (plays / f"{name}.crash").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (plays / f"{name}.dies").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (plays / f"{name}.raises").exists():
        raise RuntimeError("nobody foresaw this")
    while (plays / f"{name}.hangs").exists():
        time.sleep(0.05)
    if (plays / f"{name}.slow").exists():
        time.sleep(SLOW_S)
    if (plays / f"{name}.large").exists():
        taken = bytearray(LARGE_BYTES)
        taken[::4096] = b"x" * len(taken[::4096])  # pages that nobody wrote to are not taken
        time.sleep(SLOW_S)


def _made(job, original, folder):
    if job.stage == keys.ORIGINAL:
        (folder / "graphs").mkdir()
        (folder / "graphs" / "model.onnx").write_bytes(b"graph of " + Path(job.request.model).name.encode())
        return Outcome()
    assert (original / "graphs" / "model.onnx").read_bytes().endswith(Path(job.request.model).name.encode())
    write_shown_bundle(folder / work.BUNDLE, shown_evidence())
    shipped = Shipped("safe", "int8-dynamic", job.request.targets, "pass", 0.97, 1000)
    return Outcome(shipped=(shipped,), size_bytes=1234)


def log(plays):
    """What was done, in the order it was begun."""
    path = plays / "log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def done(plays):
    """Names of the jobs that were begun, sorted."""
    return sorted(entry["job"] for entry in log(plays))
