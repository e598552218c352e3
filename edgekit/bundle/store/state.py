"""What the store remembers: which versions of each name are installed, which one is active, which one is on trial.

All of it is one small JSON document, which is why one rename commits any change. What can be seen on the disk (files,
folders in the making) is not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgekit.errors import HostError, RecordError
from edgekit.spec.checksum import seal
from edgekit.spec.reader import Table, parse_json

SCHEMA_MAJOR: Final = 1
SCHEMA_MINOR: Final = 0
MAX_STATE_BYTES: Final = 4 * 1024 * 1024
MAX_ATTEMPTS: Final = 3
MAX_REASON: Final = 300

UNTESTED: Final = "untested"
GOOD: Final = "good"
FAILED: Final = "failed"
STATUSES: Final = (UNTESTED, GOOD, FAILED)

_ID: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Version:
    """An installed version; its folder is named by its id, the SHA-256 of its ``edgekit.json``.

    Attributes:
        version: The bundle's own.
        release: The bundle's release counter.
        size_bytes: Of all its files.
        status: One of :data:`STATUSES`.
        reason: Why it failed; empty otherwise.
        trust: What its origin was judged by when it was installed, for example ``unsigned``.
    """

    version: str
    release: int
    size_bytes: int
    status: str = UNTESTED
    reason: str = ""
    trust: str = "unsigned"


@dataclass(frozen=True, slots=True)
class Slot:
    """The versions of one name. An empty string stands for no version.

    Attributes:
        active: Id of the version that programs get. It is good, as ``previous`` is.
        previous: Id of the one that was active before it, to which a rollback leads.
        trial: Id of the one that becomes active once its self-test has passed.
        attempts: Starts of the trial whose end nobody has seen yet.
        highest_release: Of all that were ever active; what is lower is a downgrade.
        versions: By id.
    """

    active: str = ""
    previous: str = ""
    trial: str = ""
    attempts: int = 0
    highest_release: int = 0
    versions: Mapping[str, Version] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The whole store.

    Attributes:
        generation: Counts commits.
        slots: By name.
    """

    generation: int = 0
    slots: Mapping[str, Slot] = field(default_factory=dict)

    def slot(self, name: str) -> Slot:
        """The versions of a name; an empty slot where nothing of it is installed."""
        return self.slots.get(name, Slot())

    def with_slot(self, name: str, slot: Slot) -> State:
        """The same with another slot."""
        return State(self.generation, {**self.slots, name: slot})

    def ids(self) -> set[str]:
        """Ids of all versions."""
        return {identity for slot in self.slots.values() for identity in slot.versions}

    def to_json(self) -> bytes:
        """The canonical bytes: sorted keys, and a checksum over themselves."""
        document = {
            "checksum": "0" * 64,
            "schema_version": f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
            "generation": self.generation,
            "slots": {name: _slot_json(slot) for name, slot in self.slots.items()},
        }
        return seal((json.dumps(document, indent=1, sort_keys=True) + "\n").encode(), "state")

    @classmethod
    def from_json(cls, data: bytes, name: str) -> State:
        """Read a state.

        Raises:
            RecordError: It is not, byte for byte, one that was written.
            HostError: It is whole, and of a newer edgekit.
        """
        if len(data) > MAX_STATE_BYTES or seal(data, name) != data:
            raise RecordError(f"{name}: checksum: the file is not as it was written")
        table = parse_json(data, name, max_bytes=MAX_STATE_BYTES)
        schema = table.string("schema_version")
        if schema != f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}":
            raise HostError(
                f"{name}: the store is of schema {schema}, this edgekit keeps {SCHEMA_MAJOR}.{SCHEMA_MINOR}",
                hint="use the edgekit that wrote it: pip install --upgrade edgekit",
            )
        table.string("checksum")
        state = cls(table.integer("generation"), {key: _read_slot(item) for key, item in table.named_tables("slots")})
        for key in state.slots:
            if not _NAME.fullmatch(key):
                raise table.error("slots", f"{key!r} is not a name")
        table.done()
        return state


def is_id(text: str) -> bool:
    """Whether a text could be a version's id."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a text could be the name of an installed bundle."""
    return _NAME.fullmatch(text) is not None


def _slot_json(slot: Slot) -> dict[str, Any]:
    versions = {identity: _fields(version) for identity, version in slot.versions.items()}
    return {**_fields(slot), "versions": versions}


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _read_slot(table: Table) -> Slot:
    slot = Slot(
        active=table.string("active"),
        previous=table.string("previous"),
        trial=table.string("trial"),
        attempts=table.integer("attempts", maximum=MAX_ATTEMPTS),
        highest_release=table.integer("highest_release"),
        versions={key: _read_version(item) for key, item in table.named_tables("versions")},
    )
    table.done()
    for key in slot.versions:
        if not is_id(key):
            raise table.error("versions", f"{key!r} is not an id")
    for key in ("active", "previous", "trial"):
        named = getattr(slot, key)
        if named and named not in slot.versions:
            raise table.error(key, f"names {named!r}, which is not in versions")
        if named and key != "trial" and slot.versions[named].status != GOOD:
            raise table.error(key, f"names {named!r}, which is not {GOOD}")
    return slot


def _read_version(table: Table) -> Version:
    version = Version(
        version=table.string("version"),
        release=table.integer("release"),
        size_bytes=table.integer("size_bytes", maximum=2**63),
        status=table.string("status", choices=STATUSES),
        reason=table.string("reason"),
        trust=table.string("trust"),
    )
    table.done()
    return version
