"""What may happen to the versions of one name: each function gives the slot after one event, and touches no disk."""

from __future__ import annotations

from dataclasses import replace

from edgekit.bundle.store.state import FAILED, GOOD, MAX_ATTEMPTS, MAX_REASON, Slot, Version
from edgekit.errors import IntegrityError, UsageError


def installed(slot: Slot, identity: str, version: Version) -> Slot:
    """A version's files are in the store; installing it again keeps what is known of it, and forgets a failure."""
    known = slot.versions.get(identity)
    if known is not None and known.status == GOOD:
        version = replace(version, status=GOOD)
    return replace(slot, versions={**slot.versions, identity: version})


def put_on_trial(slot: Slot, identity: str, *, attempts: int, allow_downgrade: bool) -> Slot:
    """A version shall become active once its self-test has passed; one that is active already stays so.

    Raises:
        IntegrityError: It is older than one that was active, and ``allow_downgrade`` is false.
        UsageError: It is not installed.
    """
    if identity not in slot.versions:
        raise UsageError(f"{identity}: is not installed", hint="see `edgekit list`")
    version = slot.versions[identity]
    if identity == slot.active:
        return replace(slot, trial="", attempts=0)
    if version.release < slot.highest_release and not allow_downgrade:
        raise IntegrityError(
            f"release {version.release} is older than release {slot.highest_release}, which was active here",
            hint="--allow-downgrade takes an older release all the same",
        )
    return replace(slot, trial=identity, attempts=attempts)


def started(slot: Slot) -> Slot:
    """The version on trial is about to be opened; one that used up its starts is given up instead."""
    if not slot.trial:
        return slot
    if slot.attempts >= MAX_ATTEMPTS:
        return failed(slot, slot.trial, f"{slot.attempts} starts ended before its self-test did")
    return replace(slot, attempts=slot.attempts + 1)


def confirmed(slot: Slot, identity: str) -> Slot:
    """A version's self-test passed. It becomes active if it is still the one on trial."""
    if identity not in slot.versions:
        return slot
    passed = replace(slot.versions[identity], status=GOOD, reason="")
    slot = replace(slot, versions={**slot.versions, identity: passed})
    if slot.trial != identity:
        return slot
    return replace(
        slot,
        active=identity,
        previous=slot.active,
        trial="",
        attempts=0,
        highest_release=max(slot.highest_release, passed.release),
    )


def failed(slot: Slot, identity: str, reason: str) -> Slot:
    """A version is not to be used: it leaves every place it had, and what was active before takes the active one's."""
    if identity not in slot.versions:
        return slot
    bad = replace(slot.versions[identity], status=FAILED, reason=reason[:MAX_REASON])
    slot = replace(slot, versions={**slot.versions, identity: bad})
    if slot.trial == identity:
        slot = replace(slot, trial="", attempts=0)
    if slot.active == identity:
        slot = replace(slot, active=slot.previous, previous="")
    return replace(slot, previous="") if slot.previous == identity else slot


def rolled_back(slot: Slot, name: str) -> Slot:
    """The version that was active before is active again; a trial is called off.

    Raises:
        UsageError: There is none.
    """
    if not slot.previous:
        raise UsageError(
            f"{name}: there is no previous version to go back to",
            hint="`edgekit list` shows what is installed, `edgekit activate` takes any of it",
        )
    return replace(slot, active=slot.previous, previous="", trial="", attempts=0)


def collectable(slot: Slot) -> list[str]:
    """Ids of the versions that nothing leads to any more: neither in a place nor newer than all that were active."""
    kept = {slot.active, slot.previous, slot.trial}
    return sorted(
        identity
        for identity, version in slot.versions.items()
        if identity not in kept and (version.status == FAILED or version.release <= slot.highest_release)
    )


def without(slot: Slot, identity: str) -> Slot:
    """A version's files are about to be removed."""
    return replace(slot, versions={key: version for key, version in slot.versions.items() if key != identity})
