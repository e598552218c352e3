"""A registry of the distribution specification 1.1 on loopback, in memory, that misbehaves where it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from ..loopback import listening  # noqa: TID252 - tests are no installed package


@dataclass
class Registry:
    """What it holds, what it was asked, and what it does wrong: ``faults`` are asked first, one after the other."""

    host: str = ""
    blobs: dict = field(default_factory=dict)
    manifests: dict = field(default_factory=dict)
    uploads: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    keeps_referrers: bool = True
    user: str = ""
    password: str = ""
    bearer: str = ""
    realm: str = ""

    def asked(self, method, path=""):
        return [request for request in self.requests if request[0] == method and re.search(path, request[1])]


@contextmanager
def serve(**fields):
    registry = Registry(**fields)
    handler = type("Handler", (_Handler,), {"registry": registry})
    with listening(handler) as registry.host:
        yield registry


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *_):
        pass

    def _serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.registry.requests.append((self.command, self.path, self.headers.get("Authorization")))
        try:
            if any(fault(self) for fault in list(self.registry.faults)):
                return
            if self._authorized():
                self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815

    def cut(self, data, after):
        """Promise all of ``data``, send some of it, and hang up."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:after])
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def answer(self, status, data=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _authorized(self):
        registry = self.registry
        if self.path.startswith("/token"):
            basic = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
            good = self.headers.get("Authorization") == f"Basic {basic}"
            refresh = parse_qs(self.body.decode()).get("refresh_token") == [registry.password]
            if good or refresh or not registry.user:
                self.answer(200, json.dumps({"token": registry.bearer}).encode())
            else:
                self.answer(401)
            return False
        given = self.headers.get("Authorization")
        if registry.bearer and given != f"Bearer {registry.bearer}":
            realm = registry.realm or f"http://{registry.host}/token"
            self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="stand-in",scope="x"')
            return False
        basic = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        if registry.user and not registry.bearer and given != f"Basic {basic}":
            self.answer(401, WWW_Authenticate='Basic realm="stand-in"')
            return False
        return True

    def _answer(self):
        parts = urlsplit(self.path)
        match = re.fullmatch(r"/v2/(.+)/(blobs/uploads|blobs|manifests|referrers)/([^/]*)", parts.path)
        if not match:
            self.answer(404)
            return
        kind, name = match[2], match[3]
        getattr(self, f"_{kind.replace('/', '_')}")(match[1], name, parse_qs(parts.query))

    def _blobs(self, _, name, __):
        data = self.registry.blobs.get(name)
        if data is None:
            self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')
            return
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            first = int(start[1])
            self.answer(206, data[first:], Content_Range=f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.answer(200, data)

    def _blobs_uploads(self, repository, name, query):
        uploads = self.registry.uploads
        if self.command == "POST":
            name = f"upload-{len(uploads)}"
            uploads[name] = b""
            self.answer(202, Location=f"/v2/{repository}/blobs/uploads/{name}?_state=x")
            return
        if name not in uploads:
            self.answer(404)
            return
        place = f"/v2/{repository}/blobs/uploads/{name}?_state=x"
        if self.command == "GET":
            self.answer(204, Location=place, Range=f"0-{max(0, len(uploads[name]) - 1)}")
        elif self.command == "PATCH":
            start = int(self.headers["Content-Range"].split("-")[0])
            if start != len(uploads[name]):
                self.answer(416, Location=place, Range=f"0-{max(0, len(uploads[name]) - 1)}")
                return
            uploads[name] += self.body
            self.answer(202, Location=place, Range=f"0-{len(uploads[name]) - 1}")
        else:
            data = uploads.pop(name) + self.body
            if digest_of(data) != query["digest"][0]:
                self.answer(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"digest does not match"}]}')
                return
            self.registry.blobs[digest_of(data)] = data
            self.answer(201, Location=f"/v2/{repository}/blobs/{digest_of(data)}")

    def _manifests(self, repository, name, _):
        manifests = self.registry.manifests
        if self.command == "PUT":
            manifests[name] = manifests[digest_of(self.body)] = self.body
            subject = json.loads(self.body).get("subject") if self.registry.keeps_referrers else None
            self.answer(201, **({"OCI_Subject": subject["digest"]} if subject else {}))
        elif name in manifests:
            self.answer(200, manifests[name])
        else:
            self.answer(404)

    def _referrers(self, _, name, __):
        if not self.registry.keeps_referrers:
            self.answer(404)
            return
        found = []
        for digest, data in self.registry.manifests.items():
            document = json.loads(data)
            if digest.startswith("sha256:") and document.get("subject", {}).get("digest") == name:
                entry = {"mediaType": document["mediaType"], "digest": digest, "size": len(data)}
                found.append(entry | {"artifactType": document["artifactType"]})
        self.answer(200, json.dumps({"schemaVersion": 2, "manifests": found}).encode())
