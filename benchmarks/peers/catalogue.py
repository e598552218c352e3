"""The peers of peers.toml, as data. Standard library only."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("peers.toml")
BESIDE = (" spinning", " half")  # how the names of edgekit's other rows end that a peer is held against, too


@dataclass(frozen=True, slots=True)
class Source:
    """An artefact that another one is built from."""

    environment: str
    worker: str
    artefact: str
    file: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the tables; peers.toml tells what each field means."""

    name: str
    environment: str
    worker: str
    artefact: str
    precision: str
    of: str = "encoder"
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    source: Source | None = None
    ours: str = ""


def read(table: Path = TABLE) -> dict[str, Peer]:
    """Peers by name, in the table's order.

    Raises:
        ValueError: A key means nothing, or ``ours`` names no row.
    """
    known = {entry.name for entry in fields(Peer)} - {"name"}
    peers = {}
    for name, entry in tomllib.loads(table.read_text(encoding="utf-8")).items():
        unknown = set(entry) - known
        if unknown:
            raise ValueError(f"{table.name}: {name}: unknown {', '.join(sorted(unknown))}")
        source = Source(*entry["source"]) if "source" in entry else None
        peers[name] = Peer(name, **{**entry, "source": source, "needs": tuple(entry.get("needs", ()))})
    for peer in peers.values():
        if peer.ours and peer.ours not in peers:
            raise ValueError(f"{table.name}: {peer.name}: ours: {peer.ours!r} is no row")
    return peers


def chosen(peers: dict[str, Peer], wanted: Sequence[str]) -> list[Peer]:
    """The peers asked for, by name or by the name's beginning, and the rows of edgekit that they are held against.

    All of them where nothing is asked for.

    Raises:
        ValueError: A name is no peer's beginning.
    """
    if not wanted:
        return list(peers.values())
    names = set()
    for word in wanted:
        found = {name for name in peers if name == word or name.startswith(f"{word} ")}
        if not found:
            near = get_close_matches(word, peers, n=1, cutoff=0.3)
            raise ValueError(f"{word!r} is no peer" + (f"; did you mean {near[0]!r}?" if near else ""))
        names |= found
    ours = {peers[name].ours for name in names if peers[name].ours}
    names |= ours | {name + end for name in ours for end in BESIDE if name + end in peers}
    return [peer for name, peer in peers.items() if name in names]
