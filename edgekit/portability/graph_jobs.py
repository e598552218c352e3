"""A job for an environment that runs graphs and has no Python, and what came of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError, HostError
from edgekit.portability.children import Ended
from edgekit.portability.jobs import Failure, Job, Ran, failure_of, read_events
from edgekit.portability.tape import Arrays, Call, record, replay
from edgekit.runtime.answers import Raw
from edgekit.runtime.external_data import external_tensors
from edgekit.spec.manifest import Variant

MAX_TENSOR_BYTES: Final = 1 << 29

# What a GPU is there for; arithmetic on shapes may stay on the CPU.
_HEAVY: Final = frozenset(
    {
        "Attention", "Conv", "ConvInteger", "DynamicQuantizeMatMul", "Gemm", "GroupQueryAttention", "MatMul",
        "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "QLinearMatMul",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """What was written: the open bundle, its variant, and the calls, those of the probes first."""

    bundle: Bundle
    variant: Variant
    probes: int
    calls: Sequence[Sequence[Call]]


def write_graph_job(job: Job, provider: str, folder: Path) -> Graphs:
    """Write a job for ``web_runner/graphs.mjs``.

    Args:
        job: What to run.
        provider: onnxruntime-web's name of one.
        folder: Where; what the job gives will lie there too.

    Raises:
        HostError: This machine cannot run the variant, so that there are no tensors to ask with.
    """
    bundle = Bundle.open(job.bundle)
    variant = bundle.manifest.variant(job.variant)
    calls = record(bundle, variant, job.sample)
    tensors = _Tensors()
    graphs: list[dict[str, Any]] = []
    for probe in job.probes:
        (folder / f"probe-{probe.file}.onnx").write_bytes(probe.model)
        called = [{"number": tensors.number(), "feeds": tensors.add(probe.feeds)}]
        graphs.append({"name": probe.kernels, "model": f"probe-{probe.file}.onnx", "data": [], "calls": called})
    first = len(job.probes)
    files: dict[str, str] = {}
    flat = [call for calls_of_one in calls for call in calls_of_one]
    for component in dict.fromkeys(call.component for call in flat):
        called = [
            {"number": first + number, "feeds": tensors.add(call.feeds)}
            for number, call in enumerate(flat)
            if call.component == component
        ]
        graphs.append(_graph(bundle, variant, component, files) | {"calls": called})
    graphs[first]["opens"] = True
    (folder / "feeds.bin").write_bytes(b"".join(tensors.parts))
    document = {"provider": provider, "files": files, "graphs": graphs}
    (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")
    return Graphs(bundle, variant, first, calls)


def read_graphs_ran(job: Job, graphs: Graphs, folder: Path, ended: Ended) -> Ran:
    """Read what the job left, and finish the answers with the runtime's own code."""
    events = read_events(folder / "events.jsonl")
    told = {event["event"]: event for event in events}
    given = {event["number"]: _outputs(folder, event) for event in events if event["event"] == "call"}
    facts = {name: str(value) for name, value in told.get("libraries", {}).items() if name != "event"}
    probes = tuple(probe.judge(dict(given.get(number, {}))) for number, probe in enumerate(job.probes))
    failure = _left(events, job) or _failure(ended, told, events)
    answers: tuple[Raw, ...] = ()
    if failure is None:
        try:
            answers = tuple(replay(graphs.bundle, graphs.variant, job.sample, _answered(graphs, given)))
        except EdgekitError as error:
            failure = Failure(f"its outputs cannot be used: {error.message}", error.hint)
    return Ran(facts=facts, probes=probes if given else (), answers=answers, failure=failure)


def _answered(graphs: Graphs, given: Mapping[int, Arrays]) -> list[list[Call]]:
    answered, number = [], graphs.probes
    for calls in graphs.calls:
        row = []
        for call in calls:
            if number not in given:
                raise HostError(f"{call.component}: a call was not answered")
            row.append(Call(call.component, call.feeds, given[number]))
            number += 1
        answered.append(row)
    return answered


def _failure(ended: Ended, told: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Failure | None:
    if "error" in told:
        opened = [event["name"] for event in events if event["event"] == "graph"]
        at = f"after {opened[-1]}: " if opened and "probed" in told else ""
        hint = "" if "probed" not in told else "an operator or type that onnxruntime-web lacks: try another recipe"
        return Failure(f"{at}{told['error']['message']}", hint, of_environment="probed" not in told)
    return failure_of(ended, {**told, **({"opened": {}} if "graph" in told and "probed" in told else {})})


def _left(events: Sequence[Mapping[str, Any]], job: Job) -> Failure | None:
    """Products of the bundle's graphs that the GPU does not take: onnxruntime-web moves them to the CPU, silently."""
    probes = {probe.kernels for probe in job.probes}
    left = [
        node
        for event in events
        if event["event"] == "graph" and event["name"] not in probes
        for node in event.get("left", ())
        if node["op"] in _HEAVY
    ]
    if not left:
        return None
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(Counter(node["op"] for node in left).items()))
    return Failure(
        f"WebGPU leaves {len(left)} products to the CPU: {kinds}",
        "onnxruntime-web has no WebGPU kernels for them: export for the target webgpu",
    )


def _graph(bundle: Bundle, variant: Variant, component: str, files: dict[str, str]) -> dict[str, Any]:
    path = variant.graph_path(component)
    sizes = {
        entry.path.rpartition("/")[2]: entry.size
        for entry in bundle.manifest.files
        if entry.path.rpartition("/")[0] == variant.folder
    }
    locations = sorted({tensor.location for tensor in external_tensors(bytes(bundle.read(path)), sizes)})
    paths = {location: f"{variant.folder}/{location}" for location in locations}
    files |= {name: str(bundle.root / name) for name in (path, *paths.values())}
    return {
        "name": component,
        "model": path,
        "data": [{"path": location, "file": name} for location, name in paths.items()],
        "options": _nested(variant.session_options),
    }


def _nested(options: Mapping[str, str]) -> dict[str, Any]:
    """Session options as onnxruntime-web takes them: objects within objects, by the parts of the name."""
    nested: dict[str, Any] = {}
    for key, value in options.items():
        *parts, last = key.split(".")
        place = nested
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


class _Tensors:
    """Tensors one behind the other, each at a multiple of eight bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._count = 0

    def number(self) -> int:
        self._count += 1
        return self._count - 1

    def add(self, feeds: Arrays) -> list[dict[str, Any]]:
        return [self._add(name, np.ascontiguousarray(array)) for name, array in feeds.items()]

    def _add(self, name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
        data = array.tobytes()
        described = {"name": name, "dtype": array.dtype.name, "dims": list(array.shape)}
        described |= {"offset": self._size, "bytes": len(data)}
        self.parts += [data, b"\0" * (-len(data) % 8)]
        self._size += len(data) + -len(data) % 8
        if self._size > MAX_TENSOR_BYTES:
            raise HostError(f"the sample's tensors are over {MAX_TENSOR_BYTES} bytes, too many to hand over")
        return described


def _outputs(folder: Path, event: Mapping[str, Any]) -> Arrays:
    data = (folder / f"call-{event['number']}.bin").read_bytes()
    outputs, place = {}, 0
    for output in event["outputs"]:
        dtype, dims = np.dtype(output["dtype"]), [int(size) for size in output["dims"]]
        part = data[place : place + output["bytes"]]
        place += output["bytes"]
        if len(part) == math.prod(dims) * dtype.itemsize:
            outputs[output["name"]] = np.frombuffer(part, dtype).reshape(dims)
    return outputs
