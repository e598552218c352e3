"""``edgekit install``, ``activate`` and ``rollback``: which version of a bundle this device runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.bundle.store.state import Slot
    from edgekit.bundle.store.store import Store
    from edgekit.runtime import SelfTest

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of an installed bundle.", show_default=False)]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="The store; EDGEKIT_STORE or this user's own otherwise."),
]
DowngradeFlag = Annotated[
    bool, typer.Option("--allow-downgrade", help="Take a release older than one that was active here.")
]
DeferFlag = Annotated[bool, typer.Option("--defer", help="Leave the self-test to the next program that loads it.")]


def install(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    store: StoreOption = None,
    allow_downgrade: DowngradeFlag = False,
    defer: DeferFlag = False,
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Copy a bundle into the device's store, test it in a child process, and make it active if it passes."""
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Trust
    from edgekit.runtime import installing

    screen = Screen.of(context, as_json=as_json, debug=debug)
    policy = Trust.of(trust, allow_unsigned=allow_unsigned)
    opened = Bundle.open(bundle)
    place = open_store(store)
    with bytes_bar(screen, "installing") as advance:
        identity = installing.install(opened, place, trust=policy, allow_downgrade=allow_downgrade, progress=advance)
    _try_out(place, opened.manifest.name, identity, screen, defer=defer)


def activate(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    name: NameArgument,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]",
            help="Its version, or the start of its id; the newest release that has not failed otherwise.",
            show_default=False,
        ),
    ] = None,
    *,
    store: StoreOption = None,
    allow_downgrade: DowngradeFlag = False,
    defer: DeferFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Test an installed version in a child process, and make it the active one if it passes."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = open_store(store)
    identity = _find(name, place.slot(name), version)
    place.choose(name, identity, allow_downgrade=allow_downgrade)
    _try_out(place, name, identity, screen, defer=defer)


def rollback(
    context: typer.Context,
    name: NameArgument,
    *,
    store: StoreOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make the version that was active before active again."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    place = open_store(store)
    identity = place.roll_back(name)
    _show(place.slot(name), name, identity, screen, "active again")


def open_store(folder: Path | None) -> Store:
    """The store that a command was told to use."""
    from edgekit.bundle.store.store import Store
    from edgekit.runtime.installing import default_store

    return default_store() if folder is None else Store(folder)


def _try_out(store: Store, name: str, identity: str, screen: Screen, *, defer: bool) -> None:
    from edgekit.runtime import installing

    result = None if defer else installing.prove(store, name)
    slot = store.slot(name)
    said = "active" if slot.active == identity else "on trial: the next program that loads it runs its self-test"
    _show(slot, name, identity, screen, said, result)


def _find(name: str, slot: Slot, version: str | None) -> str:
    from edgekit.bundle.store.state import FAILED

    if version is None:
        newest = max(
            slot.versions,
            key=lambda identity: (slot.versions[identity].status != FAILED, slot.versions[identity].release),
            default=None,
        )
        if newest is None:
            raise UsageError(f"{name}: no version of it is installed", hint="`edgekit install BUNDLE` installs one")
        return newest
    found = [
        identity
        for identity, known in slot.versions.items()
        if version == known.version or (len(version) >= 6 and identity.startswith(version))
    ]
    if len(found) != 1:
        has = ", ".join(f"{known.version} ({identity[:12]})" for identity, known in slot.versions.items())
        raise UsageError(f"{name}: {len(found)} installed versions are {version!r}; there are {has or 'none'}")
    return found[0]


def _show(slot: Slot, name: str, identity: str, screen: Screen, said: str, result: SelfTest | None = None) -> None:
    version = slot.versions[identity]
    if screen.json:
        document: dict[str, Any] = {
            "name": name,
            "version": version.version,
            "release": version.release,
            "id": identity,
            "active": slot.active == identity,
            "trust": version.trust,
        }
        if result is not None:
            document["self_test"] = {
                "cases": result.cases,
                "worst_agreement": result.worst,
                "bound": result.bound,
                "seconds": result.seconds,
            }
        screen.result(document)
        return
    from edgekit.cli.render import plain

    tested = f", {result.cases} golden cases, worst agreement {result.worst:.6f}" if result else ""
    screen.show(plain(f"{name} {version.version} (release {version.release}, {version.trust}): {said}{tested}"))
