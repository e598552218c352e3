"""Services for tests: inside this process, behind a real uvicorn on loopback; or as processes of their own."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import httpx2
import uvicorn

from edgekit.runtime import load, pipeline
from edgekit.serve.app import service
from edgekit.serve.limits import Limits
from edgekit.serve.observing import Metrics
from edgekit.serve.served import Pace, Wanted, open_all
from edgekit.serve.server import bind

PATIENCE_S = 120


class Running:
    """A service that answers.

    Attributes:
        port: Its port.
        service: Itself.
        server: What runs it.
        client: An HTTP client of it.
    """

    def __init__(self, made, port, server):
        self.service = made
        self.server = server
        self.port = port
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)

    def model(self, name):
        return next(one.model for one in self.service.served if one.name == name)

    def lane(self, name):
        return next(one.lane for one in self.service.served if one.name == name)

    def post(self, task, body, **more):
        return self.client.post(f"/v1/{task}", json=body, **more)


@contextlib.contextmanager
def running(bundles, *, limits=None, max_batch=None, calls=None, threads=None, wait_s=0.0, tasks=(), access_log=False):
    """A service in a thread of this process.

    Args:
        bundles: Folders by name.
        tasks: (name, task) of those that are used for another.
    """
    limits = limits or Limits()
    metrics = Metrics()
    uses = dict(tasks)
    wanted = [Wanted(str(path), name, uses.get(name, "")) for name, path in bundles.items()]
    pace = Pace(calls, max_batch, wait_s, limits.queue_s)
    opener = lambda one: (  # noqa: E731
        pipeline(one.task, one.path, threads=threads) if one.task else load(one.path, threads=threads)
    )
    made = service(open_all(wanted, opener, pace, metrics.called), limits, metrics, access_log=access_log)
    config = uvicorn.Config(made.app, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        answers = Running(made, port, server)
        try:
            yield answers
        finally:
            answers.client.close()
            server.should_exit = True
            thread.join(PATIENCE_S)
            made.close()


class Process:
    """``edgekit serve`` as a process.

    Attributes:
        process: The process.
        log: What it wrote so far.
        port: Its port.
    """

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "edgekit", "serve", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log = []
        self.port = 0
        for line in self.process.stdout:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == "listening":
                self.port = int(self.log[-1]["url"].rpartition(":")[2])
                break
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.log.append(json.loads(line))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait(self):
        """Its exit code and what it wrote to standard error."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code, self.process.stderr.read()


@contextlib.contextmanager
def process(*arguments):
    made = Process(*arguments)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        made.process.stdout.close()
        made.process.stderr.close()


def accepts(port):
    """Whether anybody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def eventually(check, seconds=PATIENCE_S):
    """Wait until a check holds."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)
