"""The whole comparison, from nothing to a result that :mod:`.render` draws and that is kept as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import environments, models, processes
from .artefacts import Artefact, Builder
from .catalogue import Peer
from .environments import OWN, Pythons, Say, UnavailableError
from .models import WORKERS, Model
from .runner import Runner, Side

THREADS = 2
ORIGINAL = "transformers"  # the environment whose torch answers for the original

VERSIONS = (
    "edgekit", "onnxruntime", "onnxruntime-genai", "openvino", "nncf", "torch", "transformers", "optimum",
    "optimum-onnx", "olive-ai", "llama-cpp-python",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        peers: Rows, in the tables' order.
        models: What they run.
        replicates: Fresh processes of each, for times.
        root: Where environments and artefacts are kept.
        threads: For all.
        bundles: By model: a bundle that stands for the one that edgekit would export.
        keep_bundles: Whether edgekit's bundles of the last run are taken as they are.
        say: Told what goes on.
    """

    peers: Sequence[Peer]
    models: Sequence[Model]
    replicates: int
    root: Path
    threads: int = THREADS
    bundles: dict[str, Path] = field(default_factory=dict)
    keep_bundles: bool = False
    say: Say = print


def measure(plan: Plan) -> dict[str, Any]:
    """Build what is missing, then run everything.

    Returns:
        ``threads``, ``replicates``, ``limits``, ``versions`` by environment, and ``models``: by name ``title``,
        ``shapes``, ``operations`` and ``peers``, whose values hold every replicate's figures, or ``unavailable``.

    Raises:
        UnavailableError: What all others are held against cannot be made: the checkpoint, or the original's answers.
    """
    pythons = Pythons(plan.root, environments.read(), say=plan.say)
    measured = {model.name: _model(plan, model, pythons) for model in plan.models}
    return {
        "threads": plan.threads,
        "replicates": plan.replicates,
        "limits": limits(pythons[OWN], plan.threads),
        "versions": {name: _versions(python) for name, python in pythons.items()},
        "models": measured,
    }


def limits(python: Path, threads: int) -> dict[str, Any]:
    """What this CPU can do at most; see workers/run_limits.py."""
    return processes.ask(python, WORKERS / "run_limits.py", {"command": "limits", "threads": threads}).values


def _model(plan: Plan, model: Model, pythons: Pythons) -> dict[str, Any]:
    facts = models.prepare(model, pythons, plan.root / "models")
    rows: dict[str, dict[str, Any]] = {}
    sides = []
    builder = Builder(facts, plan.root / "models" / model.name, pythons, say=plan.say)
    for peer in (peer for peer in plan.peers if peer.of == model.of):
        rows[peer.name] = {"precision": peer.precision, "ours": peer.ours}
        try:
            side = _side(peer, plan, model, builder, pythons)
        except UnavailableError as error:
            rows[peer.name]["unavailable"] = str(error)
            plan.say(f"{peer.name} is left out: {error}")
            continue
        rows[peer.name] |= {"size_bytes": side.artefact.size_bytes, "notes": list(side.artefact.notes)}
        sides.append(side)
    runner = Runner(sides, facts, threads=plan.threads, say=plan.say)
    result: dict[str, Any] = {"title": model.title, "of": model.of, "peers": rows}
    if model.of == "decoder":
        _add(rows, runner.generations(plan.replicates))
    else:
        shapes = models.shapes(facts["max_length"])
        result["operations"] = {name: models.operations(facts["config"], *shape) for name, shape in shapes.items()}
        _add(rows, runner.starts(plan.replicates))
        _add(rows, runner.times(shapes, plan.replicates))
        if model.measure:
            _add(rows, {name: {"quality": figures} for name, figures in
                        runner.qualities(_original(facts, pythons), model.measure).items()})  # fmt: skip
    for name, reason in runner.reasons.items():
        rows[name]["unavailable"] = reason
    return result


def _side(peer: Peer, plan: Plan, model: Model, builder: Builder, pythons: Pythons) -> Side:
    given = plan.bundles.get(model.name)
    if given and peer.environment == OWN and peer.artefact == "best":
        size = sum(path.stat().st_size for path in given.rglob("*") if path.is_file())
        peer = dataclasses.replace(peer, options=peer.options | {"bundle": str(given)})
        return Side(peer, pythons[peer.environment], Artefact(given, size, ()))
    return Side(peer, pythons[peer.environment], builder.build(peer, keep_own=plan.keep_bundles))


def _original(facts: dict[str, Any], pythons: Pythons) -> Side:
    peer = Peer("the original", ORIGINAL, "run_transformers.py", "checkpoint", "float32")
    return Side(peer, pythons[ORIGINAL], Artefact(Path(facts["checkpoint"]), 0, ()))


def _add(rows: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    for name, figures in more.items():
        notes = [*rows[name].get("notes", []), *figures.get("notes", [])]
        rows[name] |= figures | {"notes": notes}


def _versions(python: Path) -> dict[str, str]:
    asked = {"command": "versions", "names": VERSIONS}
    return dict(processes.ask(python, WORKERS / "run_versions.py", asked).values)
