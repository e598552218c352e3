"""What every worker does: read a request, do its command, write a reply. Runs in each peer's own environment.

    python run_PEER.py REQUEST.json REPLY.json

A request names its ``command`` and holds what it needs; paths are absolute, token ids are lists.

``build``     model, artefact, folder         -> files: what ships; notes: what a reader must know
``time``      artefact, options, shapes       -> ms: the median call for each shape; notes
``start``     artefact, options, text         -> answered_ns: the shared clock at the first answer
``answer``    artefact, options, inputs, answers -> one array for each input, saved as .npz
``generate``  artefact, options, prompt, new  -> prefill_ms, token_ms: one duration for each further token

A worker is a module with ``build`` and ``load`` (or ``generator``); whatever differs from the others stands there.
numpy and the rest are imported where they are needed: a start is timed from the process's first moment.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Request = dict[str, Any]

LEAST_WARM_UPS, MOST_WARM_UPS = 2, 5
LEAST_CALLS, MOST_CALLS = 3, 200


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to be asked.

    Attributes:
        feeds: From token ids, int64 (batch, tokens), to what ``run`` takes: not timed.
        run: The call that is timed.
        array: From what ``run`` gives to float32 (batch, tokens, width) or (batch, labels).
        notes: What a reader of the figures must know, such as a precision that this CPU does not have.
    """

    feeds: Callable[[Any], Any]
    run: Callable[[Any], Any]
    array: Callable[[Any], Any]
    notes: tuple[str, ...] = ()


def _not_offered(request: Request) -> Any:
    raise ValueError(f"this worker does not {request['command']}")


@dataclass(frozen=True)
class Worker:
    """What a module offers.

    Attributes:
        build: Makes an artefact in ``request["folder"]``; the files that ship, and notes.
        load: Opens it.
        generator: Opens a language model: from a prompt's ids an iterator that yields each new token as it is there.
        first_answer: From a request to its first answer, where the peer has a way of its own from text to answer.
        more: Commands that only this worker has.
    """

    build: Callable[[Request], tuple[list[Path], list[str]]] = _not_offered
    load: Callable[[Request], Loaded] = _not_offered
    generator: Callable[[Request], Callable[[Sequence[int], int], Iterator[Any]]] = _not_offered
    first_answer: Callable[[Request], Any] | None = None
    more: dict[str, Callable[[Request], dict[str, Any]]] = field(default_factory=dict)


def serve(worker: Worker) -> None:
    """Do one command and end."""
    asked, answered = map(Path, sys.argv[1:])
    request = json.loads(asked.read_text(encoding="utf-8"))
    command = request["command"]
    commands = {"build": _build, "time": _time, "start": _start, "answer": _answer, "generate": _generate}
    reply = worker.more[command](request) if command in worker.more else commands[command](worker, request)
    answered.write_text(json.dumps(reply), encoding="utf-8")


def inputs_of(ids: Any) -> dict[str, Any]:
    """The inputs that encoders take, by name: nothing is padded, one segment."""
    import numpy as np

    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def token_ids(request: Request, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts, as the checkpoint's ``tokenizer.json`` has them, cut at the model's length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(request["model"]["checkpoint"]) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(request["model"]["max_length"])
    return [list(tokenizer.encode(text).ids) for text in texts]


def _build(worker: Worker, request: Request) -> dict[str, Any]:
    Path(request["folder"]).mkdir(parents=True, exist_ok=True)
    files, notes = worker.build(request)
    return {"files": [str(path) for path in files], "bytes": sum(_size(path) for path in files), "notes": notes}


def _time(worker: Worker, request: Request) -> dict[str, Any]:
    import numpy as np

    model = worker.load(request)
    medians, random = {}, np.random.default_rng(0)
    for name, (batch, length) in request["shapes"].items():
        ids = random.integers(request["model"]["vocabulary"] // 10, request["model"]["vocabulary"], (batch, length))
        medians[name] = statistics.median(durations(model.run, model.feeds(ids), request["seconds"])) * 1e3
    return {"ms": medians, "notes": list(model.notes)}


def durations(run: Callable[[Any], Any], feeds: Any, seconds: float) -> list[float]:
    """Seconds of each call, as many as fit into ``seconds``, after warm-ups."""
    for least, most in ((LEAST_WARM_UPS, MOST_WARM_UPS), (LEAST_CALLS, MOST_CALLS)):
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < least or (time.perf_counter() < end and len(times) < most):
            begin = time.perf_counter()
            run(feeds)
            times.append(time.perf_counter() - begin)
    return times


def _start(worker: Worker, request: Request) -> dict[str, Any]:
    if worker.first_answer is not None:
        worker.first_answer(request)
    else:
        import numpy as np

        model = worker.load(request)
        ids = np.array(token_ids(request, [request["text"]]), dtype=np.int64)
        model.array(model.run(model.feeds(ids)))
    return {"answered_ns": time.monotonic_ns()}


def _answer(worker: Worker, request: Request) -> dict[str, Any]:
    import numpy as np

    model = worker.load(request)
    inputs = json.loads(Path(request["inputs"]).read_text(encoding="utf-8"))
    answers = []
    for ids in inputs:
        answer = model.array(model.run(model.feeds(np.array([ids], dtype=np.int64))))
        answers.append(np.asarray(answer, dtype=np.float32)[0])
    with Path(request["answers"]).open("wb") as file:
        np.savez(file, **{str(index): answer for index, answer in enumerate(answers)})
    return {"answers": len(answers), "notes": list(model.notes)}


def _generate(worker: Worker, request: Request) -> dict[str, Any]:
    begin = time.perf_counter()
    generate = worker.generator(request)
    loaded = time.perf_counter() - begin
    for _ in generate(request["prompt"], 4):  # warm-up
        pass
    begin = time.perf_counter()
    moments = []
    for _ in generate(request["prompt"], request["new"]):
        moments.append(time.perf_counter())  # noqa: PERF401 - the moment counts
    steps = [after - before for before, after in itertools.pairwise(moments)]
    return {
        "load_s": loaded,
        "prefill_ms": (moments[0] - begin) * 1e3,
        "token_ms": [step * 1e3 for step in steps],
    }


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
