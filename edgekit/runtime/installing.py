"""Install bundles on this device, and open what is installed: the store with a host that can run things."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store.disk import own_limits
from edgekit.bundle.store.store import TRIAL_PATIENCE_S, Store
from edgekit.bundle.store.trust import policy_of
from edgekit.bundle.trust import Trust
from edgekit.errors import EdgekitError, HostError, IntegrityError, OutputError
from edgekit.runtime.host import detect_host
from edgekit.runtime.memory import available_bytes
from edgekit.runtime.model import Model, SelfTest
from edgekit.runtime.selection import check_cpu, check_host
from edgekit.runtime.session import onnxruntime_version, this_host
from edgekit.runtime.trying import COPIES_OF_WEIGHTS, try_out, weight_bytes
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.user_folders import store_folder


def default_store() -> Store:
    """The store this user's programs share: ``EDGEKIT_STORE``, else the system's place for an application's data."""
    return Store(store_folder(os.environ, sys.platform, Path.home()))


def install(
    bundle: Bundle,
    store: Store,
    *,
    trust: Trust | None = None,
    allow_downgrade: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Put a bundle into the store and on trial, once this host is known to fit it. :func:`prove` makes it active.

    Args:
        bundle: The open bundle.
        store: Where to.
        trust: Whose signature it must have, which is asked before anything is staged; the environment's where None.
        allow_downgrade: Whether its release may be lower than one that was active.
        progress: Called with (bytes done, bytes in all) while it is copied.

    Returns:
        The version's id.

    Raises:
        HostError: This host cannot run it, or has no room for it; the message says why.
        IntegrityError: It is not what it lists, its origin is not trusted, or it is a downgrade.
        OutputError: The store cannot be written.
    """
    check_fit(bundle.manifest)
    policy = policy_of(Trust.of() if trust is None else trust)
    return store.install(bundle, policy, allow_downgrade=allow_downgrade, progress=progress)


def check_fit(manifest: Manifest, *, memory_bytes: int | None = None) -> Variant:
    """Which variant this host would run.

    Args:
        manifest: The bundle's.
        memory_bytes: Memory there is; what the system says where None.

    Raises:
        HostError: There is none: the onnxruntime, the execution provider, the CPU or the memory is not what it needs.
    """
    check_cpu(manifest, detect_host())  # ahead of the import of ONNX Runtime, which may crash here
    variant = check_host(manifest, this_host(), onnxruntime_version())
    available = available_bytes() if memory_bytes is None else memory_bytes
    needed = COPIES_OF_WEIGHTS * weight_bytes(manifest, variant)
    if available is not None and needed > available:
        raise HostError(
            f"variant {variant.name} needs about {needed} bytes of memory, this host has {available} left",
            hint="free memory, or use a bundle with a smaller variant for this target",
        )
    return variant


def prove(store: Store, name: str) -> SelfTest | None:
    """Run the self-test of the version on trial in a child process. It becomes active, or is given up.

    Returns:
        The result; None when nothing is on trial.

    Raises:
        ParityError, IntegrityError, HostError: What is wrong with it. What was active before still is.
        OutputError: The store cannot be written.
    """
    return store.prove(name, lambda folder: _tested(folder, name))


def open_installed(store: Store, name: str, opened: Callable[[Bundle], Model]) -> Model:
    """Open the active version of a name. One on trial is tested first, and opened if it passes.

    Args:
        store: Where it is installed.
        name: The bundle's name.
        opened: Makes the model from the open bundle.

    Returns:
        The model; until it is closed nobody removes its files.

    Raises:
        UsageError: It is not installed, or no version of it is active.
        IntegrityError: It is damaged.
        HostError: This host cannot run it.
    """
    slot = store.slot(name)
    if slot.trial:
        model = _try_trial(store, name, opened, has_active=bool(slot.active))
        if model is not None:
            return model
    identity, lease = store.reader(name)
    try:
        model = opened(_bundle(store.folder(identity), name))
    except BaseException:
        lease.release()
        raise
    model.hold(lease)
    return model


def _try_trial(store: Store, name: str, opened: Callable[[Bundle], Model], *, has_active: bool) -> Model | None:
    # A device has to start: as long as there is a version that was proven, whatever is wrong with the new one, or with
    # keeping account of it, is no reason not to. The store remembers it, and `edgekit list` shows it.
    try:
        return store.prove(
            name,
            lambda folder: _opened_after_test(store, name, folder, opened),
            patience_s=0 if has_active else TRIAL_PATIENCE_S,
            last_word=False,
        )
    except EdgekitError:
        if not has_active:
            raise
    return None


def _opened_after_test(store: Store, name: str, folder: Path, opened: Callable[[Bundle], Model]) -> Model:
    _tested(folder, name)
    lease = store.lease(folder.name)
    if lease is None:
        raise OutputError(f"{folder}: is being removed", hint="do it again")
    try:
        model = opened(_bundle(folder, name))
    except IntegrityError as error:
        lease.release()
        # Its files were found whole a moment ago: this program trusts other keys, which is not the version's fault.
        raise HostError(error.message, hint=error.hint) from error
    except BaseException:
        lease.release()
        raise
    model.hold(lease)
    return model


def _tested(folder: Path, name: str) -> SelfTest:
    with own_limits():
        bundle = _bundle(folder, name)
    return try_out(bundle, check_fit(bundle.manifest))


def _bundle(folder: Path, name: str) -> Bundle:
    bundle = Bundle.open(folder)
    if (bundle.manifest_sha256, bundle.manifest.name) != (folder.name, name):
        raise IntegrityError(
            f"{folder}: edgekit.json is not the one that was installed",
            hint=f"install it again, or `edgekit fsck --repair` and what was active before {name} is again",
        )
    return bundle
