"""The steps of the Dockerfiles, carried out in a clean root; and what starts from there, asked.

In ``make test`` the packages beside edgekit come from the tests' own environment, so that no registry is needed;
``make test-all`` installs them all anew.
"""

import contextlib
import http.server
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from edgekit.bundle.reading import Bundle
from edgekit.containers.context import Recipe, write_context
from edgekit.containers.cuts import cut
from edgekit.containers.estimate import closure, estimate
from edgekit.runtime import load

# ruff: noqa: TID252 - tests are no installed package
from ..loopback import listening
from ..serve.bundles import base64_of, image_file
from ..unit.test_vision import write_classifier
from .root import Root, lend, stages

PATIENCE_S = 120


def lend_packages(root, step):
    """Put this environment's packages into the clean one, as far as the image has them."""
    if "venv" in step["value"]:
        (site,) = (root.folder / "opt/edgekit").rglob("site-packages")
        needed, missing = closure("edgekit", frozenset({"serve"}))
        assert not missing
        lend(Path(sysconfig.get_path("purelib")), site, needed)


@pytest.fixture(scope="module")
def root(bundle, wheel, tmp_path_factory):
    """The root of a service's image, but for its packages."""
    work = tmp_path_factory.mktemp("image")
    write_context(Bundle.open(bundle), Recipe("server", wheel=wheel), work / "context")
    (work / "root").mkdir()
    return Root(work / "context", work / "root", after=lend_packages, environment={"PIP_NO_INDEX": "1"})


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextlib.contextmanager
def started(command, environment, folder):
    """A process of the image, ended as an engine ends it."""
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def asked(port, path, body=None):
    until = time.monotonic() + PATIENCE_S
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
                return json.load(response)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_the_packages_are_edgekits_own_wheel_without_what_nothing_reads(root):
    script = "import edgekit; print(edgekit.__file__)"
    done = subprocess.run(
        [root.folder / "opt/edgekit/bin/python", "-c", script],
        check=True, capture_output=True, text=True, env=root.variables(), cwd=root.folder,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(root.folder)
    (site,) = (root.folder / "opt/edgekit").rglob("site-packages")
    left = [path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()]
    assert "numpy/__init__.py" in left
    assert [path for path in left if cut(Recipe("server").cuts, PurePosixPath(path))] == []
    assert [path for path in left if path.startswith(("huggingface_hub/", "hf_xet/", "fsspec/"))] == []


def test_the_service_starts_from_there_answers_is_healthy_and_writes_nothing(root, bundle):
    port, before = free_port(), files(root.folder)
    command = [word.replace("8080", str(port)) for word in root.entrypoint]
    command[0] = str(root.folder / "opt/edgekit/bin" / command[0])
    with started(command, root.variables(), root.workdir), load(bundle) as model:
        assert asked(port, "/v1/embed", {"inputs": "word1"}) == pytest.approx(model.embed("word1").tolist())
        check = [word.replace("8080", str(port)) for word in root.healthcheck]
        assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 0
    assert subprocess.run([sys.executable, *check[1:]], check=False, capture_output=True).returncode == 1
    assert files(root.folder) == before


def test_cloud_run_says_where_to_listen(root, context):
    (entrypoint,) = [step["value"] for step in stages(context("cloud-run"))[1] if step["instruction"] == "ENTRYPOINT"]
    command, port = [root.here(word) for word in json.loads(entrypoint)], free_port()
    environment = root.variables() | {"PORT": str(port)}
    with started([*command, "--no-access-log"], environment, root.workdir) as process:
        assert asked(port, "/ready") == {"status": "ready"}
        assert Path(f"/proc/{process.pid}/comm").read_text("ascii") != "sh\n"  # the signal reaches edgekit itself


def test_a_device_answers_without_network_or_service(root, context):
    (entrypoint,) = [step["value"] for step in stages(context("device"))[1] if step["instruction"] == "ENTRYPOINT"]
    command = [root.here(word) for word in json.loads(entrypoint)]
    command[0] = str(root.folder / "opt/edgekit/bin" / command[0])
    done = subprocess.run(
        [*command, "word1", "--json"], check=True, capture_output=True, text=True, env=root.variables(), cwd=root.folder
    )
    assert len(json.loads(done.stdout)["embeddings"][0]) == 8


@pytest.fixture
def function(context, bundle, monkeypatch):
    """The function's module, as Lambda imports it."""

    def imported(path=bundle):
        monkeypatch.setenv("EDGEKIT_BUNDLE", str(path))
        file = context("aws-lambda") / "handler.py"
        made = importlib.util.spec_from_file_location("function_handler", file)
        module = importlib.util.module_from_spec(made)
        made.loader.exec_module(module)
        return module

    return imported


def request_of(body, **more):
    return {"requestContext": {"http": {"method": "POST"}}, "body": body, "isBase64Encoded": False} | more


def test_the_function_answers_events_and_requests(function, bundle):
    module = function()
    with load(bundle) as model:
        vectors = model.embed(["word1", "word2"]).tolist()
    assert module.handler({"inputs": ["word1", "word2"]}, None) == pytest.approx(np.array(vectors))
    body = json.dumps({"inputs": "word1"})
    for event in (request_of(body), request_of(base64_of(body.encode()), isBase64Encoded=True)):
        answer = module.handler(event, None)
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"]) == pytest.approx(vectors[0])
    module.MODEL.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400), ("{", 400), ("3", 422), ("{}", 422), ('{"inputs": 3}', 422), ('{"inputs": "a", "more": 1}', 422),
        ('{"inputs": "a", "parameters": {"top_k": 1}}', 422),
    ],
)  # fmt: skip
def test_what_the_function_cannot_use_is_a_status(function, body, status):
    module = function()
    answer = module.handler(request_of(body), None)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["error"]["message"]
    module.MODEL.close()


def test_the_function_takes_files_and_opens_none_of_its_own(function, tmp_path):
    module = function(write_classifier(tmp_path / "image"))
    (tmp_path / "own.png").write_bytes(image_file())
    encoded = base64_of(image_file())
    answer = module.handler({"inputs": [encoded, encoded], "parameters": {"top_k": 1}}, None)
    assert [len(one) for one in answer] == [1, 1]
    for bad in (str(tmp_path / "own.png"), 3, [None]):
        assert module.handler(request_of(json.dumps({"inputs": bad})), None)["statusCode"] == 422
    module.MODEL.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["server", "aws-lambda"])
def test_every_package_installed_anew(bundle, wheel, tmp_path, kind):
    write_context(Bundle.open(bundle), Recipe(kind, wheel=wheel), tmp_path / "context")
    (tmp_path / "root").mkdir()
    root = Root(tmp_path / "context", tmp_path / "root")
    python = str(root.folder / "opt/edgekit/bin/python")
    done = subprocess.run([python, "-c", "import torch"], check=False, capture_output=True, env=root.variables())
    assert done.returncode == 1
    size_mb = sum(path.lstat().st_size for path in root.folder.rglob("*") if path.is_file()) / 1e6
    assert 130 + size_mb < 350, size_mb
    weighed = estimate(Bundle.open(bundle), Recipe(kind, wheel=wheel))
    assert sum(weighed.packages_mb.values()) + weighed.compiled_mb == pytest.approx(size_mb, rel=0.1)
    if kind == "server":
        port = free_port()
        command = [word.replace("8080", str(port)) for word in root.entrypoint]
        command[0] = str(root.folder / "opt/edgekit/bin" / command[0])
        with started(command, root.variables(), root.workdir):
            assert len(asked(port, "/v1/embed", {"inputs": "word1"})) == 8
        return
    with runtime_api({"inputs": "word1"}) as (address, answers):
        variables = root.variables() | {"AWS_LAMBDA_RUNTIME_API": address}
        command = [python, *root.entrypoint[1:], *root.cmd]
        with subprocess.Popen(command, env=variables, cwd=root.workdir, stdout=subprocess.PIPE) as process:
            until = time.monotonic() + PATIENCE_S
            while not answers and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            process.kill()
    assert len(json.loads(answers[0])) == 8


@contextlib.contextmanager
def runtime_api(event):
    """A stand-in for Lambda's runtime API that has one event; gives its address and the answers it got."""
    answers, waiting = [], [event]

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            while not waiting:
                time.sleep(0.05)
            body = json.dumps(waiting.pop()).encode()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:x:1:function:x")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            answers.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with listening(Api) as address:
        yield address, answers
