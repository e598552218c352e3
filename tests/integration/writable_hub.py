"""A hub on loopback that takes commits too. It asks for every file within the commit: Xet's storage has no stand-in."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from . import local_hub
from .local_hub import Repository

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(folder, token):
    """A hub whose repositories lie under ``folder``; who writes must have the token."""
    with local_hub.serve({}, type("Writing", (Writing,), {"place": folder, "token": token})) as hub:
        yield hub


class Writing(local_hub.Reading):
    """What a commit takes: create, preupload, commit."""

    place: Path
    token: str

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Authorization", "")))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":  # of README.md
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._json({"files": [_regular(file["path"]) for file in json.loads(body)["files"]]})
        elif "/commit/" in path:
            self._commit("/".join(path.split("/")[3:5]), body)
        else:
            self._refuse(404, "EntryNotFound", path)

    def _create(self, asked):
        name = asked["name"] if asked.get("organization") is None else f"{asked['organization']}/{asked['name']}"
        self.hub.repositories.setdefault(name, Repository(self.place / name, COMMIT))
        (self.place / name).mkdir(parents=True, exist_ok=True)
        self._json({"url": f"{self.hub.url}/{name}"})

    def _commit(self, name, body):
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] != "file":
                continue
            data = base64.b64decode(value["content"])
            target = self.place / name / value["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        address = f"{self.hub.url}/{name}/commit/{COMMIT}"
        self._json({"success": True, "commitOid": COMMIT, "commitUrl": address})


def _regular(path):
    return {"path": path, "uploadMode": "regular", "shouldIgnore": False}
