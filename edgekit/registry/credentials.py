"""Credentials of registries, found where docker, podman, skopeo and oras keep them; nothing is ever written."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgekit.errors import InputError, RecordError
from edgekit.spec.reader import parse_json

HELPER_SECONDS: Final = 30
MAX_BYTES: Final = 1 << 20
_TOKEN_USER: Final = "<token>"  # noqa: S105 - what a helper gives as the user of an identity token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or an identity token that is exchanged for others. Not shown when printed."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(host: str) -> Credentials | None:
    """What is kept for a registry: by its helper, by the store, or in the file itself, in the files' order.

    The files: ``REGISTRY_AUTH_FILE``, podman's ``containers/auth.json`` and docker's ``config.json``
    (in ``DOCKER_CONFIG`` or ``~/.docker``).

    Args:
        host: With the port, where one is given.

    Raises:
        InputError: A file is broken, or a helper fails.
    """
    for path in _files():
        try:
            data = path.read_bytes()
        except OSError:
            continue
        found = _in_file(data, path, host)
        if found:
            return found
    return None


def _files() -> Iterator[Path]:
    if "REGISTRY_AUTH_FILE" in os.environ:
        yield Path(os.environ["REGISTRY_AUTH_FILE"])
    if "XDG_RUNTIME_DIR" in os.environ:
        yield Path(os.environ["XDG_RUNTIME_DIR"]) / "containers/auth.json"
    config = os.environ.get("XDG_CONFIG_HOME")
    home = Path(os.environ.get("HOME") or os.environ.get("USERPROFILE") or "/nonexistent")
    yield (Path(config) if config else home / ".config") / "containers/auth.json"
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _in_file(data: bytes, path: Path, host: str) -> Credentials | None:
    try:
        parse_json(data, str(path), max_bytes=MAX_BYTES)  # refuses what json.loads would let pass
    except RecordError as error:
        raise InputError(error.message, hint="mend the file, or log in again with the tool that wrote it") from error
    document = json.loads(data)
    helper = _mapping(document, "credHelpers").get(host) or ""
    for name in filter(None, (helper, "" if helper else document.get("credsStore"))):
        found = _from_helper(str(name), host)
        if found:
            return found
    for key in (host, f"https://{host}", f"https://{host}/v1/", f"http://{host}"):
        entry = _mapping(document, "auths").get(key)
        if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
            return _from_entry(entry, path, key)
    return None


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _from_entry(entry: Mapping[str, Any], path: Path, key: str) -> Credentials:
    try:
        text = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{path}: auths: {key}: auth is not base64", hint=f"log in to {key} again") from error
    user, _, password = text.partition(":")
    return Credentials(user, password.rstrip("\0"), str(entry.get("identitytoken") or ""))


def _from_helper(name: str, host: str) -> Credentials | None:
    """Ask a credential helper; https://github.com/docker/docker-credential-helpers."""
    program = shutil.which(f"docker-credential-{name}") if re.fullmatch(r"[A-Za-z0-9_.-]+", name) else None
    if program is None:
        raise InputError(f"credential helper {name!r}: there is no docker-credential-{name} in PATH")
    try:
        done = subprocess.run(  # noqa: S603 - named by the user's own configuration, as docker does
            [program, "get"], input=host.encode(), capture_output=True, timeout=HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"credential helper {name!r}: did not answer: {error}") from error
    if done.returncode:
        if b"credentials not found" in done.stdout:
            return None
        raise InputError(f"credential helper {name!r}: failed with {done.returncode}", hint=f"log in to {host} again")
    try:
        answer = parse_json(done.stdout, f"credential helper {name!r}", max_bytes=MAX_BYTES)
        user, secret = answer.string("Username"), answer.string("Secret", max_length=65536)
    except RecordError as error:
        raise InputError(error.message) from error
    return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user, secret)
