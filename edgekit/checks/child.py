"""What a check runs in a process of its own: ``python -m edgekit.checks.child``.

A request is one line of JSON on standard input, its answer one on standard output; see :mod:`.processes`. The process
ends with its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError
from edgekit.runtime.golden import read_golden
from edgekit.runtime.graph_nodes import count_nodes
from edgekit.runtime.loading import open_variant
from edgekit.runtime.memory import peak_bytes
from edgekit.runtime.model import Model
from edgekit.runtime.session import open_session
from edgekit.runtime.timing import Clock, clock_ms
from edgekit.runtime.workloads import Workload, workloads
from edgekit.spec.manifest import Variant

WALL, CPU = "wall", "cpu"
CLOCKS: Final = {WALL: time.perf_counter_ns, CPU: time.process_time_ns}
WARMUP_CALLS: Final = 4  # of each workload, the first not looked at

Request = Mapping[str, Any]


def main() -> None:
    """Answer requests until the input ends."""
    answer: Callable[[Request], Any] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if answer is None:
                answer = _opened(request)
                reply = {}
            else:
                reply = answer(request)
        except EdgekitError as error:
            reply = {"error": {"kind": error.kind, "message": error.message, "hint": error.hint}}
        print(json.dumps(reply), flush=True)


def _opened(request: Request) -> Callable[[Request], Any]:
    bundle = Bundle.open(request["bundle"])
    variant = bundle.manifest.variant(request["variant"])
    if request["do"] == "graph":
        return lambda _: _graph(bundle, variant, request["threads"])
    asked = fixed_workloads([Bundle.open(path) for path in request["asked_of"]])
    model = open_variant(bundle, variant, threads=request["threads"])
    if request["do"] == "start":
        return lambda _: _start(model, asked)
    return _Timed(model, asked)


def fixed_workloads(bundles: Sequence[Bundle]) -> list[Workload]:
    """What both bundles are asked, one input at a time; golden inputs are those of the last one."""
    old = bundles[-1]

    def golden() -> list[Any]:
        return [case.input for case in read_golden(bytes(old.read(old.manifest.golden)))]

    return [workload for workload in workloads([bundle.manifest for bundle in bundles], golden) if workload.batch == 1]


def _graph(bundle: Bundle, variant: Variant, threads: int) -> dict[str, Any]:
    """Operators of each graph as it lies in the file and as ONNX Runtime runs it here, and who runs them."""
    found = {}
    weights: dict[str, memoryview] = {}
    for name in variant.graphs:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "optimized.onnx")
            with open_session(bundle, variant, name, weights=weights, threads=threads, optimized=path) as session:
                placed = session.placement()
            found[name] = {
                "file": dict(count_nodes(bytes(bundle.read(variant.graph_path(name))))),
                "optimized": dict(count_nodes(path.read_bytes())),
                "placement": None if placed is None else dict(placed),
            }
    return found


def _start(model: Model, asked: Sequence[Workload]) -> dict[str, Any]:
    """The memory of a process that opened a bundle and gave its first answers."""
    for workload in asked:
        workload.ask(model, time.perf_counter_ns)
    return {"peak_bytes": peak_bytes(), "heap_bytes": _heap_bytes()}


class _Timed:
    """Bursts of calls: asked for ``{workload: calls}`` and a clock it gives milliseconds by what they are of."""

    def __init__(self, model: Model, asked: Sequence[Workload]) -> None:
        self._model = model
        self._asked = {workload.name: workload for workload in asked}

    def __call__(self, request: Request) -> dict[str, Any]:
        clock = CLOCKS[request["clock"]]
        if request["do"] == "warm up":
            return {name: self._warm(workload, clock) for name, workload in self._asked.items()}
        durations: dict[str, list[float]] = {}
        for name, calls in request["calls"].items():
            workload = self._asked[name]
            if not workload.long:
                workload.ask(self._model, clock)  # the caches are the neighbour's until then
            for _ in range(calls):
                for what, values in workload.ask(self._model, clock).items():
                    durations.setdefault(what, []).extend(values)
        return durations

    def _warm(self, workload: Workload, clock: Clock) -> float:
        """Milliseconds that asking once takes."""
        taken = [
            clock_ms(lambda: workload.ask(self._model, clock), clock)
            for _ in range(2 if workload.long else WARMUP_CALLS)
        ]
        return statistics.median(taken[1:])


def _heap_bytes() -> int | None:
    """Bytes that are allocated through malloc and not freed; None where the C library does not tell."""

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
        )]  # fmt: skip

    if os.name == "nt":
        return None
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33; its fields have 64 bits
    if mallinfo is None:
        return None
    mallinfo.restype = Info
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


if __name__ == "__main__":
    main()
