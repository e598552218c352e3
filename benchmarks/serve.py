"""What the service costs beside the runtime: overhead at one client, throughput at 32, memory over a long run.

    .venv/bin/python benchmarks/serve.py bundles/minilm                # overhead and throughput
    .venv/bin/python benchmarks/serve.py bundles/minilm --batching     # what batches of several requests gain
    .venv/bin/python benchmarks/serve.py bundles/minilm --soak         # 50,000 requests on 200 connections

Needs a bundle that embeds texts, and a system with /proc for the memory. The service is a process of its own; client
and bare calls are this one's. What is compared takes turns within one run; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, repeat
from pathlib import Path

import host_facts
import numpy as np
from http_load import Load, load, post
from prometheus_client.parser import text_string_to_metric_families

from edgekit.runtime import Embedder
from edgekit.runtime import load as open_bundle
from edgekit.runtime.workloads import make_texts

TOKENS = (16, 128)
CLIENTS = 32
ROUNDS = 15
BURST = 40
SECONDS = 3.0
SOAK = (200, 50_000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--batching", action="store_true")
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="on both sides")
    chosen = parser.parse_args()
    facts = host_facts.collect()
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {chosen.threads} threads, load {facts['load_1min']}, {facts['date']}"
    )
    with open_bundle(chosen.bundle, threads=chosen.threads) as model:
        if not isinstance(model, Embedder):
            sys.exit(f"{chosen.bundle}: is no bundle that embeds texts")
        if chosen.soak:
            soak(chosen.bundle, model, chosen.threads)
        elif chosen.batching:
            batching(chosen.bundle, model, chosen.rounds, chosen.threads)
        else:
            figures(chosen.bundle, model, chosen.rounds, chosen.threads)


def figures(bundle: str, model: Embedder, rounds: int, threads: int) -> None:
    """The two figures, for texts of two lengths."""
    with serving(bundle, threads) as (port, process, about):
        print(f"max_batch {about['max_batch']}, measured at the start: {about['batch_gain']}; narrow {about['narrow']}")
        for tokens in TOKENS:
            texts = make_texts(CLIENTS, min(tokens, model.max_length))
            overhead(port, process.pid, model, texts[0], tokens, rounds)
        # Beside it what its two ways of asking do by themselves: wide calls alone, and one-thread calls alone.
        wide, narrow = ("--calls", "1"), ("--calls", str(threads), "--max-batch", str(CLIENTS // 4))
        with serving(bundle, threads, *wide) as (all_wide, _, _), serving(bundle, 1, *narrow) as (all_narrow, _, _):
            ways = {
                "as it is": port,
                " ".join(wide): all_wide,
                " ".join(("--threads 1", *narrow)): all_narrow,
            }
            for tokens in TOKENS:
                texts = make_texts(CLIENTS, min(tokens, model.max_length))
                throughput(ways, model, texts, tokens, max(3, rounds // 3))


def overhead(port: int, pid: int, model: Embedder, text: str, tokens: int, rounds: int) -> None:
    """Median time of a request at one client less that of the bare call; the same of the fastest tenth; and CPU time.

    The last two are what neighbours on the machine change least. Beside them stands what of a request's mean time lies
    outside the model's call, by the service's own clock: it does not hang on how fast two processes make that call.
    """
    request = post("/v1/embed", json.dumps({"inputs": text}).encode())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda: model.embed(text),
            "service": lambda: _ask(connection, request),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        fast: dict[str, list[float]] = {name: [] for name in ways}
        used = {"bare": 0.0, "service": 0.0}
        outside: list[float] = []
        for _ in range(rounds):
            calls = _calls(port)
            for name, ask in ways.items():
                times = []
                before = _cpu_s(os.getpid() if name == "bare" else pid)
                for _ in range(BURST):
                    began = time.perf_counter()
                    ask()
                    times.append(time.perf_counter() - began)
                took[name].append(statistics.median(times) * 1e3)
                fast[name] += sorted(times)[: BURST // 10]
                used[name] += _cpu_s(os.getpid() if name == "bare" else pid) - before
            in_calls, count = (after - at for after, at in zip(_calls(port), calls, strict=True))
            outside.append((statistics.mean(times) - in_calls / count) * 1e3)  # of the service, whose turn was last
    tenth = (statistics.median(fast["service"]) - statistics.median(fast["bare"])) * 1e3
    cpu = {name: seconds / (rounds * BURST) * 1e3 for name, seconds in used.items()}
    differences = [served - bare for served, bare in zip(took["service"], took["bare"], strict=True)]
    print(
        f"one client, {tokens:3} tokens: bare {statistics.median(took['bare']):.2f} ms, service "
        f"{statistics.median(took['service']):.2f} ms, overhead p50 {statistics.median(differences):.2f} ms "
        f"(middle half of {rounds} rounds {_middle(differences)}), of the fastest tenth {tenth:.2f} ms; outside the "
        f"call {statistics.median(outside):.2f} ms (middle half {_middle(outside)}); "
        f"CPU {cpu['bare']:.2f} and {cpu['service']:.2f} ms"
    )


def throughput(ways: Mapping[str, int], model: Embedder, texts: list[str], tokens: int, rounds: int) -> None:
    """Texts a second: 32 clients with a text each, beside ``embed`` of lists of 32."""
    bare: list[float] = []
    served: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        bare.append(_bare(model, texts))
        for name, port in ways.items():
            served[name].append(_load(port, texts, SECONDS))
    for name, rates in served.items():
        ratios = [rate / own for rate, own in zip(rates, bare, strict=True)]
        print(
            f"{CLIENTS} clients, {tokens:3} tokens, {name}: runtime {statistics.median(bare):.0f}/s in batches of "
            f"{len(texts)}, service {statistics.median(rates):.0f}/s, ratio {statistics.median(ratios):.2f} "
            f"(middle half {_middle(ratios)})"
        )


def batching(bundle: str, model: Embedder, rounds: int, threads: int) -> None:
    """Throughput and latency: each request alone, batches as they come, and batches that are waited for."""
    ways = {
        "--max-batch 1": ["--max-batch", "1"],
        "--max-batch 16": ["--max-batch", "16"],
        "--max-batch 16 --batch-wait-ms 2": ["--max-batch", "16", "--batch-wait-ms", "2"],
    }
    with contextlib.ExitStack() as stack:
        services = {name: stack.enter_context(serving(bundle, threads, *options))[:2] for name, options in ways.items()}
        for tokens in TOKENS:
            texts = make_texts(CLIENTS, min(tokens, model.max_length))
            for clients in (1, CLIENTS):
                found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
                for _ in range(max(3, rounds // 3)):
                    for name, (port, process) in services.items():
                        before = _cpu_s(process.pid)
                        done = _run(port, texts, SECONDS / 2, clients)
                        count = len(done.latencies_s)
                        cpu = (_cpu_s(process.pid) - before) / count * 1e3
                        found[name].append((count / done.seconds, statistics.median(done.latencies_s) * 1e3, cpu))
                for name, rows in found.items():
                    rate, p50, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
                    print(
                        f"{clients:2} clients, {tokens:3} tokens, {name:33} {rate:5.0f}/s, p50 {p50:7.2f} ms, "
                        f"CPU {cpu:5.2f} ms a request",
                        flush=True,
                    )


def soak(bundle: str, model: Embedder, threads: int) -> None:
    """Many requests on many connections: every answer held against the bare call's, and the service's memory."""
    connections, count = SOAK
    texts = [text for tokens in range(4, 20) for text in make_texts(16, tokens)]
    expected = {text: model.embed(text) for text in texts}

    def judge(text: str, body: bytes) -> bool:
        return float(np.dot(expected[text], np.array(json.loads(body), np.float32))) > 0.99

    requests = (
        (post("/v1/embed", json.dumps({"inputs": text}).encode()), lambda body, text=text: judge(text, body))
        for text, _ in zip(cycle(texts), range(count), strict=False)
    )
    with serving(bundle, threads) as (port, process, _):

        def show(done: int) -> None:
            if done % 5000 == 0 or done == 1000:
                print(f"{done:6} requests, service holds {_resident_mb(process.pid):.1f} MB", flush=True)

        result = asyncio.run(load(port, requests, connections=connections, done=show))
    print(
        f"{len(result.latencies_s)} answers on {connections} connections in {result.seconds:.0f} s: "
        f"statuses {result.statuses}, wrong {result.wrong}, lost {result.lost}"
    )


@contextlib.contextmanager
def serving(bundle: str, threads: int, *options: str) -> Iterator[tuple[int, subprocess.Popen[str], dict[str, object]]]:
    """A service of its own: port, process, and what it says of its bundle."""
    command = [sys.executable, "-m", "edgekit", "serve", bundle, "--port", "0", "--threads", str(threads)]
    command += ["--no-access-log", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for the type
        about: dict[str, object] = {}
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "bundle":
                about = event
            if event["event"] == "listening":
                break
        try:
            yield int(event["url"].rpartition(":")[2]), process, {"batch_gain": "no"} | about
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def _bare(model: Embedder, texts: list[str]) -> float:
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        model.embed(texts, batch_size=len(texts))
        done += len(texts)
    return done / passed


def _load(port: int, texts: list[str], seconds: float) -> float:
    result = _run(port, texts, seconds, CLIENTS)
    if set(result.statuses) != {200}:
        sys.exit(f"the service answered {result.statuses}")
    return len(result.latencies_s) / result.seconds


def _run(port: int, texts: list[str], seconds: float, clients: int) -> Load:
    requests = cycle([post("/v1/embed", json.dumps({"inputs": text}).encode()) for text in texts])
    judged = zip(requests, repeat(lambda _: True), strict=False)
    return asyncio.run(load(port, judged, connections=clients, until=time.perf_counter() + seconds))


def _ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]  # every answer has one
    while len(body) < length:
        body += connection.recv(65536)
    return body


def _calls(port: int) -> tuple[float, float]:
    """Seconds in calls of the model so far, and how many there were."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    found = {sample.name: sample.value for family in families for sample in family.samples}  # of one bundle
    # Neither is there before the first call.
    return found.get("edgekit_call_seconds_sum", 0.0), found.get("edgekit_call_seconds_count", 0.0)


def _middle(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.2f} to {high:.2f}"


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
