"""Fresh processes taking turns in a random order; what fails becomes a reason instead of a number."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import processes, quality
from .artefacts import Artefact
from .catalogue import Peer
from .environments import Say, UnavailableError
from .models import WORKERS
from .processes import Reply

Ask = Callable[[Path, Path, Mapping[str, Any]], Reply]

SECONDS = 1.5  # of timed calls for each shape of a process
PROMPT, NEW = 128, 128


@dataclass(frozen=True, slots=True)
class Side:
    """A peer that is ready: its Python and its artefact."""

    peer: Peer
    python: Path
    artefact: Artefact


class Runner:
    """Asks the sides of one model.

    Args:
        sides: Which.
        model: What workers are told about it.
        threads: For all.
        say: Told what goes on.
        ask: Runs a worker; tests put their own here.

    Attributes:
        reasons: Why a side has no figures, by its name; it is asked no more.
    """

    def __init__(
        self, sides: list[Side], model: Mapping[str, Any], *, threads: int, say: Say = print, ask: Ask = processes.ask
    ) -> None:
        self._sides = sides
        self._model = dict(model)
        self._threads = threads
        self._say = say
        self._ask = ask
        self._order = random.Random(0)  # noqa: S311 - an order, not a secret
        self.reasons: dict[str, str] = {}

    def rounds(self, request: Mapping[str, Any], replicates: int) -> dict[str, list[Reply]]:
        """The replies of each side, one for each replicate, behind a round that only warms the disk and finds faults.

        A side that fails in any round is left out, so that all have equally many replies, replicate beside replicate.
        """
        replies: dict[str, list[Reply]] = {side.peer.name: [] for side in self._sides}
        for replicate in range(replicates + 1):
            left = [side for side in self._sides if side.peer.name not in self.reasons]
            self._say(f"{self._model['name']}: {request['command']}, round {replicate} of {replicates}")
            for side in self._order.sample(left, k=len(left)):
                reply = self._one(side, request)
                if reply and replicate:
                    replies[side.peer.name].append(reply)
        return {name: found for name, found in replies.items() if name not in self.reasons}

    def times(self, shapes: Mapping[str, tuple[int, int]], replicates: int) -> dict[str, dict[str, Any]]:
        """By side: ``ms``, for each shape the process medians; ``notes``."""
        replies = self.rounds({"command": "time", "shapes": dict(shapes), "seconds": SECONDS}, replicates)
        return {
            name: {
                "ms": {shape: [reply.values["ms"][shape] for reply in found] for shape in shapes},
                "notes": found[0].values["notes"],
            }
            for name, found in replies.items()
        }

    def starts(self, replicates: int) -> dict[str, dict[str, Any]]:
        """By side: ``start_s``, seconds from a process's start to its first answer, and ``peak_mb``, its memory."""
        replies = self.rounds({"command": "start", "text": self._model["text"]}, replicates)
        return {
            name: {
                "start_s": [(reply.values["answered_ns"] - reply.began_ns) / 1e9 for reply in found],
                "peak_mb": [reply.peak_mb for reply in found],
            }
            for name, found in replies.items()
        }

    def generations(self, replicates: int) -> dict[str, dict[str, Any]]:
        """By side: ``prefill_ms`` of the prompt, and ``token_ms``, the process medians over the new tokens."""
        prompt = random.Random(1).choices(range(100, self._model["vocabulary"]), k=PROMPT)  # noqa: S311
        replies = self.rounds({"command": "generate", "prompt": prompt, "new": NEW}, replicates)
        return {
            name: {
                "prefill_ms": [reply.values["prefill_ms"] for reply in found],
                "token_ms": [reply.values["token_ms"] for reply in found],
                "load_s": [reply.values["load_s"] for reply in found],
                "peak_mb": [reply.peak_mb for reply in found],
            }
            for name, found in replies.items()
        }

    def qualities(self, reference: Side, measure: str) -> dict[str, dict[str, Any]]:
        """By side: how close its answers are to the reference's. Sides of one artefact and precision share theirs.

        Raises:
            UnavailableError: The reference cannot answer.
        """
        with tempfile.TemporaryDirectory() as folder:
            original, found = Path(folder, "reference.npz"), Path(folder, "answers.npz")
            self._ask(
                reference.python, WORKERS / reference.peer.worker, self._request(reference, self._asking(original))
            )
            known: dict[tuple[str, str, str], dict[str, Any]] = {}
            result = {}
            for side in self._sides:
                peer = side.peer
                if peer.name in self.reasons:
                    continue
                key = (peer.environment, peer.artefact, str(peer.options.get("precision", peer.options.get("compile"))))
                if key not in known:
                    self._say(f"{self._model['name']}: answers of {peer.name}")
                    if self._one(side, self._asking(found)) is None:
                        continue
                    known[key] = quality.compare(original, found, measure)
                result[peer.name] = known[key]
            return result

    def _asking(self, answers: Path) -> dict[str, Any]:
        return {"command": "answer", "inputs": self._model["judged"], "answers": str(answers)}

    def _one(self, side: Side, request: Mapping[str, Any]) -> Reply | None:
        try:
            return self._ask(side.python, WORKERS / side.peer.worker, self._request(side, request))
        except UnavailableError as error:
            self.reasons[side.peer.name] = f"{request['command']}: {error}"
            self._say(f"{side.peer.name} is left out: {error}")
            return None

    def _request(self, side: Side, request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **request,
            "model": self._model,
            "artefact": side.peer.artefact,
            "folder": str(side.artefact.folder),
            "options": dict(side.peer.options),
            "threads": self._threads,
        }
