"""What the peers run, built once each: environments first, then files. A failure is a reason, kept for the tables."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import processes
from .catalogue import Peer
from .environments import OWN, Say, UnavailableError
from .models import WORKERS

STAMP = "built.json"
BUILD_S = 3 * 3600  # calibrated rounding of a decoder's 600 M weights takes a quarter of an hour of two free cores


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a peer runs.

    Attributes:
        folder: Where it lies.
        size_bytes: Of the files that ship.
        notes: What a reader must know.
    """

    folder: Path
    size_bytes: int
    notes: tuple[str, ...]


class Builder:
    """Builds artefacts of one model.

    Args:
        model: What workers are told about it.
        root: The folder to build in.
        found: The Pythons of the environments.
        say: Told what is being built.
    """

    def __init__(self, model: Mapping[str, Any], root: Path, found: Mapping[str, Path], *, say: Say = print) -> None:
        self._model = model
        self._root = root
        self._pythons = found
        self._say = say
        self._built: dict[tuple[str, str], Artefact | UnavailableError] = {}

    def build(self, peer: Peer, *, keep_own: bool = False) -> Artefact:
        """The artefact of a peer. Another's is built once and kept; edgekit's own anew each time, for its code changes.

        Args:
            peer: The peer.
            keep_own: Whether edgekit's own is kept too where it is there.

        Raises:
            UnavailableError: A program is missing, or the build failed.
        """
        missing = [program for program in peer.needs if shutil.which(program) is None]
        if missing:
            raise UnavailableError(f"takes {', '.join(missing)}, which this machine does not have")
        source = ""
        if peer.source:
            made = self._make(peer.source.environment, peer.source.worker, peer.source.artefact, "", keep=True)
            source = str(made.folder / peer.source.file)
        keep = keep_own or peer.environment != OWN
        return self._make(peer.environment, peer.worker, peer.artefact, source, keep=keep)

    def _make(self, environment: str, worker: str, artefact: str, source: str, *, keep: bool) -> Artefact:
        key = (environment, artefact)
        if key not in self._built:
            try:
                self._built[key] = self._fresh(environment, worker, artefact, source, keep=keep)
            except UnavailableError as error:  # other peers of this artefact need not wait for the same failure
                self._built[key] = error
        found = self._built[key]
        if isinstance(found, UnavailableError):
            raise found
        return found

    def _fresh(self, environment: str, worker: str, artefact: str, source: str, *, keep: bool) -> Artefact:
        folder = self._root / environment / artefact
        stamp, wanted = folder / STAMP, self._fingerprint(worker)
        if keep and stamp.exists():
            known = json.loads(stamp.read_text(encoding="utf-8"))
            if known["fingerprint"] == wanted:
                return Artefact(folder, known["bytes"], tuple(known["notes"]))
        self._say(f"building {environment} {artefact} of {self._model['name']}")
        shutil.rmtree(folder, ignore_errors=True)
        request = {"command": "build", "artefact": artefact, "folder": str(folder), "model": dict(self._model)}
        python, asked = self._pythons[environment], request | {"source": source}
        reply = processes.ask(python, WORKERS / worker, asked, timeout_s=BUILD_S).values
        stamp.write_text(json.dumps(reply | {"fingerprint": wanted}), encoding="utf-8")
        return Artefact(folder, reply["bytes"], tuple(reply["notes"]))

    def _fingerprint(self, worker: str) -> str:
        text = (WORKERS / worker).read_text(encoding="utf-8") + str(self._model["checkpoint"])
        return hashlib.sha256(text.encode()).hexdigest()
