"""The records edgekit ships: targets and models, found beside the package or inside the wheel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from edgekit.errors import RecordError, UsageError
from edgekit.spec.device import Device
from edgekit.spec.model import ModelCard
from edgekit.spec.reader import Table, nearest, parse_toml
from edgekit.spec.target import Target

ALL: Final = "all"


def targets() -> Mapping[str, Target]:
    """Every target by name; per architecture, the most demanding one last; those of other processors after CPUs.

    Raises:
        RecordError: A record breaks its schema.
    """
    found = [Target.read(name, table) for name, table in _records("targets")]
    found.sort(key=lambda target: (not target.on_cpu, target.architecture, target.rank, target.name))
    return {target.name: target for target in found}


def devices() -> Mapping[str, Device]:
    """Every device profile by name, in alphabetical order.

    Raises:
        RecordError: A record breaks its schema, or names a target that does not exist.
    """
    known = tuple(targets())
    return {name: Device.read(name, table, known) for name, table in _records("targets", "devices")}


def models() -> Mapping[str, ModelCard]:
    """Every model card by name, in alphabetical order.

    Raises:
        RecordError: A record breaks its schema, or pins no revision or licence.
    """
    return {name: ModelCard.read(name, table) for name, table in _records("models")}


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: There is none; the hint holds the nearest one.
    """
    known = targets()
    if name not in known:
        raise _unknown("target", name, tuple(known))
    return known[name]


def model(name: str) -> ModelCard:
    """The model card of that name.

    Raises:
        UsageError: There is none; the hint holds the nearest one.
    """
    known = models()
    if name not in known:
        raise _unknown("model", name, tuple(known))
    return known[name]


def training_code() -> Path:
    """The folder of ``train.py`` and ``training/``, which make the models that are trained on the user's machine.

    Raises:
        RecordError: It is missing.
    """
    folder = Path(str(_folder("models")))
    if not (folder / "train.py").is_file():
        raise RecordError(f"{folder}: edgekit's own training code is missing", hint="install edgekit again")
    return folder


def expand_targets(names: Iterable[str]) -> tuple[str, ...]:
    """Target names without doubles, in the order given, ``all`` replaced by every CPU target.

    Other targets are named one by one: only a machine that has such a device can prove what is made for it.

    Raises:
        UsageError: A name is unknown, or there is no name.
    """
    known = targets()
    expanded: dict[str, None] = {}
    for name in names:
        if name == ALL:
            expanded.update(dict.fromkeys(name for name, target in known.items() if target.on_cpu))
        elif name in known:
            expanded[name] = None
        else:
            raise _unknown("target", name, (*known, ALL))
    if not expanded:
        raise UsageError("no target was given", hint="name one with --target, or --target all")
    return tuple(expanded)


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> UsageError:
    near = nearest(name, known)
    return UsageError(f"unknown {kind} {name!r}", hint=near or f"there are {', '.join(known)}")


def _records(kind: str, *within: str) -> Iterator[tuple[str, Table]]:
    for name, record in sorted(_record_files(_folder(kind).joinpath(*within))):
        path = "/".join((kind, *within, record.name)) if record.name != "model.toml" else f"{kind}/{name}/{record.name}"
        try:
            text = record.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise RecordError(f"{path}: not UTF-8 at byte {error.start}") from error
        yield name, parse_toml(text, path)


def _record_files(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_file() and entry.name.endswith(".toml"):
            yield entry.name.removesuffix(".toml"), entry
        elif entry.is_dir() and (record := entry.joinpath("model.toml")).is_file():
            yield entry.name, record


def _folder(kind: str) -> Traversable:
    package = resources.files("edgekit")
    carried = package.joinpath("_records", kind)  # where pyproject.toml puts them in the wheel
    if carried.is_dir():
        return carried
    beside = Path(str(package)).parent / kind  # a source checkout or an editable install of one
    if beside.is_dir():
        return beside
    raise RecordError(f"{kind}: edgekit's own records are missing", hint="install edgekit again")
