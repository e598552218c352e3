"""From the names that someone asks for to environments to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit import catalog
from edgekit.errors import UsageError
from edgekit.portability.places import Native, Place
from edgekit.portability.qemu import CPUS, Qemu
from edgekit.portability.versions import NEWEST, OLDEST, OtherOnnxruntime
from edgekit.portability.web import Browser, Node
from edgekit.runtime.session import this_host
from edgekit.spec.device import Device
from edgekit.spec.manifest import Manifest
from edgekit.spec.reader import nearest
from edgekit.spec.target import Target

ALL: Final = catalog.ALL
NATIVE: Final = "native"
WASM: Final = "wasm-simd"
WEBGPU: Final = "webgpu"
ENVIRONMENTS: Final = (NATIVE, *CPUS, WASM, WEBGPU, OLDEST, NEWEST)
"""Every environment there is, in the order they are run."""

_SHORT: Final = {"wasm": WASM, "qemu": "", "oldest": OLDEST, "newest": NEWEST}


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing asked for.

    Attributes:
        name: As it was asked for.
        place: Where to run it; None where nothing here stands for it.
        target: The target it is about; None for this machine whatever it is.
        device: The device whose limits are checked as well, if it is about one.
        decides: Whether it was named, and not only tried because of ``all``.
        reason: Why there is no place.
        hint: What to do about it.
    """

    name: str
    place: Place | None
    target: Target | None = None
    device: Device | None = None
    decides: bool = True
    reason: str = ""
    hint: str = ""


def asked_for(names: Sequence[str], manifest: Manifest, cache: Path) -> list[Asked]:
    """What to run, in the order asked for, without doubles.

    Args:
        names: Targets (``x86_64-avx2``, ``arm64-neon``, ``wasm-simd``, ``webgpu``, …), devices (``raspberry-pi-4``),
            ``native``, ``onnxruntime-oldest``, ``onnxruntime-newest``, or ``all`` for every environment there is.
        manifest: The bundle's.
        cache: Where downloads are kept.

    Raises:
        UsageError: A name is unknown, or there is none.
    """
    targets, devices = catalog.targets(), catalog.devices()
    wanted: dict[str, bool] = {}  # whether it was named
    for name in names:
        if name == ALL:
            for environment in ENVIRONMENTS:
                wanted.setdefault(environment, False)
        else:
            wanted[_SHORT.get(name, name)] = True
    if not wanted:
        raise UsageError("no environment was given", hint="name one with --on, or --on all")
    known = (*ENVIRONMENTS, *targets, *devices)
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"{name!r} is no target, device or environment",
                hint=nearest(name, (*known, ALL)) or f"there are {', '.join(dict.fromkeys((*known, ALL)))}",
            )
    places = _Places(manifest, cache)
    return [_asked(name, places, targets, devices.get(name), named=named) for name, named in wanted.items()]


def uncovered(manifest: Manifest, asked: Sequence[Asked]) -> dict[str, str]:
    """Targets the bundle claims that nothing asked for stands for, each with the reason."""
    covered = {one.target.name for one in asked if one.target is not None and one.place is not None}
    return {name: _no_place(target)[0] for name, target in manifest.targets.items() if name not in covered}


class _Places:
    """Environments by name, made once: who asks twice gets the same one."""

    def __init__(self, manifest: Manifest, cache: Path) -> None:
        self._manifest = manifest
        self._cache = cache
        self._made: dict[str, Place] = {}

    def named(self, name: str) -> Place | None:
        if name not in self._made and (made := self._make(name)) is not None:
            self._made[name] = made
        return self._made.get(name)

    def _make(self, name: str) -> Place | None:
        if name == NATIVE:
            return Native()
        if name in CPUS:
            return Qemu(CPUS[name], self._cache)
        if name in (OLDEST, NEWEST):
            return OtherOnnxruntime(name, self._manifest.onnxruntime, self._cache)
        if name == WASM:
            return Node(self._cache)
        return Browser(self._cache) if name == WEBGPU else None


def _asked(name: str, places: _Places, targets: Mapping[str, Target], device: Device | None, *, named: bool) -> Asked:
    about = device.target if device else name
    place, target = places.named(about), targets.get(about)
    if place is not None or target is None:
        return Asked(name, place, target, device, decides=named)
    if not target.missing_on(*_this_machine()):
        return Asked(name, places.named(NATIVE), target, device, decides=named)
    reason, hint = _no_place(target)
    return Asked(name, None, target, device, decides=named, reason=reason, hint=hint)


def _this_machine() -> tuple[str, frozenset[str], frozenset[str]]:
    host = this_host()
    return host.architecture, host.cpu_features, host.providers


def _no_place(target: Target) -> tuple[str, str]:
    missing = target.missing_on(*_this_machine())
    if target.name in (*CPUS, WASM, WEBGPU):
        return "was not asked for", f"--on {target.name}"
    if not missing:
        return "was not asked for; this machine is one", f"--on {target.name}"
    why = "QEMU emulates no AVX-512" if "avx512f" in target.cpu_features else "nothing here stands in for it"
    return f"this machine lacks {', '.join(missing)}, and {why}", f"run `edgekit verify` with --on {target.name} on one"
