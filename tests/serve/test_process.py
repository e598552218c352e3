"""``edgekit serve`` as a process: how it starts, what it says, and how it ends."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.http_load import load, post
from edgekit.cli import main

from .services import PATIENCE_S, accepts, eventually, process

HEAVY = ("torch", "transformers", "onnx", "optimum", "fastapi")


@pytest.fixture
def start(capsys):
    """Starts a service that does not come up; gives the exit code and the errors."""

    def run(*arguments):
        code = main(["serve", "--port", "0", *map(str, arguments)])
        return code, capsys.readouterr().err

    return run


def test_it_says_what_it_serves_answers_and_ends_with_0_when_told_to(bundles):
    with process(f"small={bundles['feature-extraction']}", bundles["text-classification"]) as service:
        about = {line["name"]: line for line in service.log if line["event"] == "bundle"}
        assert about.keys() == {"small", "text-classification"}
        assert about["small"]["routes"] == ["/v1/embed", "/v1/feature-extraction"]
        assert about["small"]["batch_gain"].keys() == {"1", "4", "16"}
        assert about["small"]["narrow"].keys() == {"calls", "gain", "why"}
        vectors = httpx2.post(f"{service.url}/v1/embed", json={"inputs": "word1"}, timeout=PATIENCE_S)
        assert vectors.status_code == 200
        assert "server" not in vectors.headers
        service.process.send_signal(signal.SIGTERM)
        code, errors = service.wait()
    assert (code, errors) == (0, "")
    *last, end = [line["event"] for line in service.log[-3:]]
    assert (sorted(last), end) == (["request", "stopping"], "stopped")  # a request is noted after its answer is sent


def test_requests_in_flight_end_and_new_ones_are_not_taken(bundles):
    text = b'{"inputs": "w3"}'
    head = b"POST /v1/text-generation HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
    with process(bundles["text-generation"]) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as slow:
            slow.sendall(head + str(len(text)).encode() + b"\r\n\r\n" + text[:5])  # begun, and not yet sent
            eventually(lambda: _in_flight(service) == 2)  # it, and the one that asks
            service.process.send_signal(signal.SIGTERM)
            eventually(lambda: not accepts(service.port))
            slow.sendall(text[5:])
            answer = b"".join(iter(lambda: slow.recv(65536), b""))
        code, errors = service.wait()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])[0]["generated_text"].startswith("w3")
    assert (code, errors) == (0, "")


def test_a_request_that_does_not_end_is_given_up_after_the_grace(bundles):
    head = b"POST /v1/embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    with (
        process(bundles["feature-extraction"], "--grace-s", "1") as service,
        socket.create_connection(("127.0.0.1", service.port)) as stuck,
    ):
        stuck.sendall(head + b"{")
        eventually(lambda: _in_flight(service) == 2)
        service.process.send_signal(signal.SIGINT)
        code, errors = service.wait()
    assert (code, errors) == (0, "")
    assert service.log[-1]["event"] == "stopped"


def test_it_needs_no_build_side(bundles):
    script = (
        "import sys\n"
        "from edgekit.cli.serve import serve\n"
        "from edgekit.runtime import load\n"
        "from edgekit.serve import app, limits, observing, served, server\n"
        "wanted, metrics = [served.Wanted(sys.argv[1])], observing.Metrics()\n"
        "opened = served.open_all(wanted, lambda one: load(one.path), served.Pace(), metrics.called)\n"
        "made = app.service(opened, limits.Limits(), metrics)\n"
        "made.close()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, str(bundles["feature-extraction"])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_calls_can_be_fixed(bundles):
    with process(bundles["feature-extraction"], "--calls", "3", "--threads", "2") as service:
        (about,) = [line for line in service.log if line["event"] == "bundle"]
        assert about["narrow"] == {"calls": 0, "gain": None, "why": "--calls fixes how it is asked"}


def test_the_command_prepares_its_process_and_a_service_inside_a_program_does_not(bundles):
    script = (
        "import gc, sys\n"
        "from edgekit.serve import app, limits, observing, served, server\n"
        "before = gc.get_freeze_count()\n"
        "seen = lambda: (gc.get_freeze_count() > before, sys.getswitchinterval() < 0.004)\n"
        "server._Server.run = lambda self, sockets: print(*seen())\n"
        "service = app.service([], limits.Limits(), observing.Metrics())\n"
        "with server.bind('127.0.0.1', 0) as listening:\n"
        "    server.run(service, listening, grace_s=1)\n"
        "sys.argv = ['edgekit', 'serve', '--port', '0', sys.argv[1]]\n"
        "from edgekit.cli import main\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", script, str(bundles["feature-extraction"])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    assert (first, last) == ("False False", "True True")


def test_what_is_wrong_at_the_start_is_an_exit_code(start, bundles, tmp_path):
    bundle = bundles["feature-extraction"]
    assert start(tmp_path / "nothing")[0] in (3, 7)
    code, errors = start(bundle, bundle)
    assert (code, "two bundles are called 'tiny'" in errors) == (2, True)
    code, errors = start(bundle, "--task", "other=summarization")
    assert (code, "no bundle is called 'other'" in errors) == (2, True)
    assert start(bundle, "--task", "summarization")[0] == 2
    assert start(bundle, "--max-batch", "0")[0] == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, errors = start(bundle, "--port", taken.getsockname()[1])
    assert (code, "cannot be listened on" in errors) == (2, True)


def test_an_altered_or_unsigned_bundle_is_not_served(start, bundles, tmp_path):
    altered = shutil.copytree(bundles["feature-extraction"], tmp_path / "altered")
    model = next(altered.rglob("model.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert start(altered)[0] == 7
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "trust").mkdir()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "trust" / "key.pem").write_bytes(pem)
    assert start(bundles["feature-extraction"], "--trust", tmp_path / "trust")[0] == 7
    with process(bundles["feature-extraction"], "--trust", tmp_path / "trust", "--allow-unsigned") as service:
        assert next(line for line in service.log if line["event"] == "bundle")["signature"] == "unsigned"


def test_an_installed_bundle_is_served_by_its_name(bundles, tmp_path):
    store = tmp_path / "store"
    assert main(["install", str(bundles["feature-extraction"]), "--store", str(store)]) == 0
    with process("vectors=tiny", "--store", store) as service:
        (model,) = httpx2.get(f"{service.url}/v1/models", timeout=PATIENCE_S).json()["models"]
        assert (model["name"], model["bundle"]) == ("vectors", "tiny")


def test_without_the_extra_it_says_what_to_install(bundles):
    script = (
        "import sys\n"
        "sys.modules['uvicorn'] = None\n"  # as if it were not there
        f"sys.argv = ['edgekit', 'serve', {str(bundles['feature-extraction'])!r}]\n"
        "from edgekit.cli import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert "pip install 'edgekit[serve]'" in done.stderr


@pytest.mark.long
def test_memory_stays_flat(bundles):
    request = post("/v1/embed", b'{"inputs": "word1 word2 word3"}')
    with process(f"e={bundles['feature-extraction']}", "--no-access-log") as service:
        held = []
        for _ in range(11):
            requests = ((request, lambda body: len(body) > 10) for _ in range(5000))
            result = asyncio.run(load(service.port, requests, connections=200))
            assert (result.wrong, result.lost, result.statuses) == (0, 0, {200: 5000})
            text = httpx2.get(f"{service.url}/metrics", timeout=PATIENCE_S).text
            line = next(line for line in text.splitlines() if line.startswith("process_resident_memory_bytes"))
            held.append(float(line.split()[1]) / 1e6)
    assert max(held[1:]) - held[0] < 8, held  # megabytes, over 50,000 requests after the first 5,000


def _in_flight(service):
    text = httpx2.get(f"{service.url}/metrics", timeout=PATIENCE_S).text
    return float(next(line for line in text.splitlines() if line.startswith("edgekit_requests_in_flight ")).split()[1])
