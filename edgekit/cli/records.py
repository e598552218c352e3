"""``edgekit targets`` and ``edgekit models``: what the catalog holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from edgekit.cli.screen import DebugFlag, JsonFlag, Screen

if TYPE_CHECKING:
    from edgekit.runtime.host import Host
    from edgekit.spec.device import Device
    from edgekit.spec.model import ModelCard
    from edgekit.spec.target import Target


def targets(context: typer.Context, *, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List the classes of devices a bundle can be made for, and which of them this machine is."""
    from edgekit import catalog
    from edgekit.runtime.session import this_host

    screen = Screen.of(context, as_json=as_json, debug=debug)
    known, devices = catalog.targets(), catalog.devices()
    host = this_host()
    if screen.json:
        screen.result(_targets_json(known, devices, host))
        return
    from edgekit.cli.render import Mark, grid, heading, indented, size, table

    listing = table("target", "here", "CPU features", "what it is", fold=("CPU features", "what it is"))
    for target in known.values():
        here = Mark(passed=True) if _fits(target, host) else ""
        listing.add_row(target.name, here, " ".join(target.cpu_features) or target.execution_provider, target.summary)
    products = table(
        "device", "target", "threads", "memory", "disk", "what it is",
        numbers=("threads", "memory", "disk"), fold=("what it is",),
    )  # fmt: skip
    for device in devices.values():
        limits = (str(device.threads), size(device.memory_bytes), size(device.disk_bytes))
        products.add_row(device.name, device.target, *limits, device.summary)
    fitting = [target.name for target in known.values() if _fits(target, host)]
    screen.show(
        heading("Targets"),
        indented(listing),
        heading("Devices, for `edgekit verify --on`"),
        indented(products),
        "",
        grid(
            [("this machine", f"{host.cpu_name} ({host.architecture}, {host.system})"), ("it is", ", ".join(fitting))]
        ),
    )


def models(context: typer.Context, *, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List the models edgekit knows by a short name. Any local folder or hub id works too."""
    from edgekit import catalog

    screen = Screen.of(context, as_json=as_json, debug=debug)
    known = catalog.models()
    if screen.json:
        screen.result({name: _model_json(card) for name, card in known.items()})
        return
    from edgekit.cli.render import grid, heading

    screen.show(heading("Models"))
    for card in known.values():
        described = [("name", card.name), ("what it is", card.summary), ("task", card.task)]
        screen.show("", grid([*described, *_origin(card), ("licence", card.license)]))
    screen.show("", "  edgekit export MODEL also takes a local folder or a hub id.")


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Targets, for the shell."""
    from edgekit import catalog

    known = [(target.name, target.summary) for target in catalog.targets().values()]
    return [pair for pair in [*known, (catalog.ALL, "every CPU target")] if pair[0].startswith(incomplete)]


def complete_model(incomplete: str) -> list[tuple[str, str]]:
    """Models, for the shell."""
    from edgekit import catalog

    return [(card.name, card.summary) for card in catalog.models().values() if card.name.startswith(incomplete)]


def _fits(target: Target, host: Host) -> bool:
    return not target.missing_on(host.architecture, host.cpu_features, host.providers)


def _origin(card: ModelCard) -> list[tuple[str, str]]:
    from edgekit.spec.model import Trained
    from edgekit.stages.train import cached

    origin = card.origin
    if isinstance(origin, Trained):
        folder = cached(card)
        return [("source", "trained on this machine"), ("it is in", str(folder) if folder else "not trained yet")]
    return [("source", origin.hub_id), ("revision", origin.revision), ("also on PyPI", origin.package or "")]


def _model_json(card: ModelCard) -> dict[str, object]:
    from edgekit.spec.model import Trained
    from edgekit.stages.train import cached

    origin = card.origin
    document: dict[str, object] = {"summary": card.summary, "task": card.task, "license": card.license}
    if isinstance(origin, Trained):
        folder = cached(card)
        return document | {"trained_by": origin.trainer, "folder": str(folder) if folder else None}
    return document | {
        "hub_id": origin.hub_id,
        "revision": origin.revision,
        "weights_sha256": origin.weights_sha256,
        "package": origin.package,
    }


def _targets_json(known: Mapping[str, Target], devices: Mapping[str, Device], host: Host) -> dict[str, object]:
    return {
        "targets": {name: target.to_json() | {"runs_here": _fits(target, host)} for name, target in known.items()},
        "devices": {name: device.to_json() for name, device in devices.items()},
        "host": {
            "architecture": host.architecture,
            "cpu_features": sorted(host.cpu_features),
            "cpu_name": host.cpu_name,
            "system": host.system,
            "providers": sorted(host.providers),
        },
    }
