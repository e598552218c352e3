"""``edgekit list``, ``gc`` and ``fsck``: what the device's store holds, tidying it, checking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.installing import StoreOption, open_store
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import IntegrityError

if TYPE_CHECKING:
    from edgekit.bundle.store.state import Slot, Version


def list_installed(
    context: typer.Context, *, store: StoreOption = None, as_json: JsonFlag = False, debug: DebugFlag = False
) -> None:
    """List what is installed on this device, and which version of each is active."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = open_store(store)
    slots = place.state().slots
    rows = [
        (name, slot, identity)
        for name, slot in sorted(slots.items())
        for identity in sorted(slot.versions, key=lambda key: (-slot.versions[key].release, key))
    ]
    if screen.json:
        screen.result(
            {
                "store": str(place.root),
                "installed": [
                    {
                        "name": name,
                        "id": identity,
                        "version": slot.versions[identity].version,
                        "release": slot.versions[identity].release,
                        "size_bytes": slot.versions[identity].size_bytes,
                        "status": slot.versions[identity].status,
                        "reason": slot.versions[identity].reason,
                        "trust": slot.versions[identity].trust,
                        "place": _place(slot, identity),
                    }
                    for name, slot, identity in rows
                ],
            }
        )
        return
    from edgekit.cli.render import heading, indented, plain, size, table

    screen.show(heading(f"Installed in {plain(str(place.root))}"))
    if not rows:
        screen.show("  nothing; `edgekit install BUNDLE` installs one")
        return
    listing = table(
        "name", "version", "release", "size", "place", "state", "id", numbers=("release", "size"), fold=("state",)
    )
    for name, slot, identity in rows:
        version = slot.versions[identity]
        state = f"{version.status}, {version.trust}" + (f": {version.reason}" if version.reason else "")
        listing.add_row(
            name,
            version.version,
            str(version.release),
            size(version.size_bytes),
            _place(slot, identity),
            plain(state),
            identity[:12],
        )
    screen.show(indented(listing))


def gc(
    context: typer.Context, *, store: StoreOption = None, as_json: JsonFlag = False, debug: DebugFlag = False
) -> None:
    """Remove versions that are neither active, previous, on trial nor newer, and what crashed installs left."""
    from edgekit.bundle.store.collecting import collect

    screen = Screen.of(context, as_json=as_json, debug=debug)
    done = collect(open_store(store))
    freed = sum(version.size_bytes for _, version in done.removed)
    if screen.json:
        screen.result(
            {
                "removed": [_named(name, version) for name, version in done.removed],
                "in_use": [_named(name, version) for name, version in done.in_use],
                "leftovers": done.leftovers,
                "freed_bytes": freed,
            }
        )
        return
    from edgekit.cli.render import plain, size

    for name, version in done.removed:
        screen.show(plain(f"removed {name} {version.version} (release {version.release})"))
    for name, version in done.in_use:
        screen.show(plain(f"kept {name} {version.version}: a program has it open"))
    screen.show(f"{len(done.removed)} versions, {size(freed)}, and {done.leftovers} leftovers of interrupted installs")


def fsck(
    context: typer.Context,
    *,
    store: StoreOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take damaged versions out of use, and write the state anew.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Read the store's state and every byte of what is installed, and compare both with what was written."""
    from edgekit.bundle.store import checking

    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = open_store(store)
    if repair:
        report = checking.repair(place)
    else:
        with bytes_bar(screen, "reading") as advance:
            report = checking.check(place, advance)
    if report.damage:
        raise IntegrityError(
            f"{place.root}: {'; '.join(report.damage)}",
            hint="install the bundle again, or `edgekit fsck --repair` takes what is damaged out of use",
        )
    if screen.json:
        screen.result(
            {
                "store": str(place.root),
                "versions": report.versions,
                "size_bytes": report.size_bytes,
                "leftovers": report.leftovers,
            }
        )
        return
    from edgekit.cli.render import plain, size

    left = f"; {report.leftovers} leftovers of interrupted installs, for `edgekit gc`" if report.leftovers else ""
    screen.show(
        plain(f"{place.root}: {report.versions} versions, {size(report.size_bytes)}, every digest matches{left}")
    )


def _place(slot: Slot, identity: str) -> str:
    places = {slot.active: "active", slot.previous: "previous"}
    if identity == slot.trial:
        return f"trial ({slot.attempts} starts)"
    return places.get(identity, "")


def _named(name: str, version: Version) -> dict[str, object]:
    return {"name": name, "version": version.version, "release": version.release, "size_bytes": version.size_bytes}
