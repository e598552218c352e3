"""Serves one page and its files to a browser on this machine, and takes what the page says."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

_TYPES: Final = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_MAX_BYTES: Final = 1 << 30


class PageServer:
    """A server on the loopback address, at a port of its own.

    Args:
        runner: Folder of the page, under ``/runner``; the page itself is ``/``.
        runtime: Folder of onnxruntime-web, under ``/runtime``.
        work: Folder of the job. Under ``/file`` lie its files and those the job names.

    Attributes:
        address: Of the page.
    """

    def __init__(self, runner: Path, runtime: Path, work: Path) -> None:
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(runner, runtime, work, self._ended))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def ended(self) -> bool:
        """Whether the page has said that it is done."""
        return self._ended.is_set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that is ended breaks off in the middle of a file."""


def _handler(runner: Path, runtime: Path, work: Path, ended: threading.Event) -> type[BaseHTTPRequestHandler]:
    job = json.loads((work / "job.json").read_text(encoding="utf-8"))
    served = {"/": runner / "page.html", "/job": work / "job.json"}
    served |= {f"/runner/{file.name}": file for file in runner.iterdir()}
    served |= {f"/runtime/{file.name}": file for file in runtime.iterdir()}
    served |= {f"/file/{file.name}": file for file in work.iterdir() if file.is_file()}
    served |= {f"/file/{name}": Path(file) for name, file in job["files"].items()}
    answers = {f"/out/call-{call['number']}.bin" for graph in job["graphs"] for call in graph["calls"]}
    telling = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = served.get(unquote(self.path.partition("?")[0]))
            if file is None:
                self.send_error(404)
                return
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", _TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(min(length, _MAX_BYTES))
            if self.path == "/tell":
                with telling, (work / "events.jsonl").open("ab") as stream:
                    stream.write(content + b"\n")
            elif self.path in answers:
                (work / self.path.removeprefix("/out/")).write_bytes(content)
            elif self.path != "/end":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if self.path == "/end":
                ended.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing on standard error."""

    return Handler
