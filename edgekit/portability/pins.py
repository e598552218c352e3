"""What the environments are made of, each pinned by digest: reads ``pins.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edgekit.portability.fetching import Pinned
from edgekit.spec.reader import Table, parse_toml


@dataclass(frozen=True, slots=True)
class Pins:
    """The file's content.

    Attributes:
        mirrors: Of Debian.
        packages: Debian's packages of the Arm system.
        arm_wheels: Requirements for pip, each with its digests.
        onnxruntime: Digests of the wheels of each version, the oldest version first.
        web_version: Of onnxruntime-web.
        web: Its package on npm.
    """

    mirrors: tuple[str, ...]
    packages: tuple[Pinned, ...]
    arm_wheels: Mapping[str, tuple[str, ...]]
    onnxruntime: Mapping[str, tuple[str, ...]]
    web_version: str
    web: Pinned


@cache
def pins() -> Pins:
    """The pins.

    Raises:
        RecordError: The file breaks its schema.
    """
    text = resources.files("edgekit.portability").joinpath("pins.toml").read_text(encoding="utf-8")
    table = parse_toml(text, "pins.toml")
    debian, web = table.table("debian"), table.table("onnxruntime-web")
    found = Pins(
        mirrors=debian.strings("mirrors"),
        packages=tuple(_pinned(item) for item in debian.tables("packages")),
        arm_wheels=_digests(table.table("arm-wheels")),
        onnxruntime=_digests(table.table("onnxruntime")),
        web_version=web.string("version"),
        web=_pinned(web),
    )
    for part in (debian, web, table):
        part.done()
    return found


def _pinned(table: Table) -> Pinned:
    return Pinned(path=table.string("path"), size=table.integer("size"), sha256=table.string("sha256"))


def _digests(table: Table) -> dict[str, tuple[str, ...]]:
    found = {name: table.strings(name) for name in table.names()}
    return dict(sorted(found.items(), key=lambda item: _version(item[0])))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.rpartition("==")[2].split(".") if part.isdigit())
