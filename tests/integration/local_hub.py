"""The little of the Hugging Face hub that a snapshot needs, served on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..loopback import listening  # noqa: TID252 - tests are no installed package


@dataclass
class Repository:
    """What lies at one commit; ``private`` asks for the token, ``gated`` refuses everybody."""

    folder: Path
    commit: str
    branches: tuple[str, ...] = ("main",)
    token: str = ""
    gated: bool = False


@dataclass
class Hub:
    """A running server: its address, what it holds and what it was asked."""

    repositories: dict[str, Repository]
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and the Authorization header of each request, in order."""


@contextmanager
def serve(repositories: dict[str, Repository], answers: type[Reading] | None = None) -> Iterator[Hub]:
    hub = Hub(repositories)
    handler = type("Handler", (answers or Reading,), {"hub": hub})
    with listening(handler) as address:
        hub.url = f"http://{address}"
        yield hub


class Reading(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def log_message(self, *arguments):
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Authorization", "")))
        parts = path.removeprefix("/api/models").strip("/").split("/")
        name = "/".join(parts[:2])
        repository = self.hub.repositories.get(name)
        authorized = repository and self.headers.get("Authorization") == f"Bearer {repository.token}"
        if repository is None or (repository.token and not authorized):
            # The hub does not tell strangers what exists: unknown and private look alike.
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        elif repository.gated:
            self._refuse(403, "GatedRepo", "Access to this model is restricted.")
        elif parts[3] not in (repository.commit, *repository.branches):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {parts[3]}")
        elif parts[2] == "resolve":
            self._file(repository, "/".join(parts[4:]))
        elif parts[2] == "tree":
            self._json([_entry(repository, file) for file in _files(repository)])
        else:
            self._json({"_id": "0", "id": name, "sha": repository.commit, "private": False})

    def _file(self, repository: Repository, path: str) -> None:
        if not (repository.folder / path).is_file():
            self._refuse(404, "EntryNotFound", f"{path} does not exist")
            return
        data = (repository.folder / path).read_bytes()
        self._send(200, data, {"ETag": f'"{_blob_id(data)}"', "X-Repo-Commit": repository.commit})

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _files(repository: Repository) -> list[Path]:
    return sorted(file for file in repository.folder.rglob("*") if file.is_file())


def _entry(repository: Repository, file: Path) -> dict[str, object]:
    path = file.relative_to(repository.folder).as_posix()
    return {"type": "file", "path": path, "size": file.stat().st_size, "oid": _blob_id(file.read_bytes())}


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
