"""Open a bundle for use on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.bundle.trust import Trust
from edgekit.errors import UsageError
from edgekit.runtime.host import detect_host, usable_threads
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.selection import check_cpu, check_host
from edgekit.runtime.session import onnxruntime_version, this_host
from edgekit.runtime.tasks import CLASSES, OTHER_USES
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.task import canonical

MAX_THREADS = 1024

# An installed bundle's name, as edgekit.json may have it; anything else can only be a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


def load(  # noqa: PLR0913 - each is one choice of whoever opens it
    path: str | os.PathLike[str],
    *,
    variant: str | None = None,
    threads: int | None = None,
    spin: bool = False,
    store: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
    allow_unsigned: bool = False,
) -> Model:
    """Open a bundle: verify what is used, decide whether and how this host runs it, open the session.

    Args:
        path: The bundle's folder, or a packed file; or, as a string, the name of an installed one (docs/store.md).
        variant: Its variant; None takes the one that fits this machine best: of those whose execution
            provider it has, the one for its CPU's features.
        threads: Threads within one operator; None takes what the CPU affinity and the cgroup's quota allow.
        spin: Whether threads burn CPU between two calls too, to answer the next one sooner.
        store: Folder of the device store that a name is looked up in; the user's own where None.
        trust: A folder of public keys, one of which must have signed the bundle; the one that the environment
            variable ``EDGEKIT_TRUST`` names where None. Where neither is given, signatures are not looked at.
        allow_unsigned: Whether a bundle without a signature passes all the same; ``model.standing`` records it.

    Returns:
        The object for the bundle's task, for example an :class:`edgekit.runtime.Embedder`.

    Raises:
        IntegrityError: The bundle is not, byte for byte, what its manifest lists, or not what a trusted key signed.
        HostError: This host cannot run it; the message says why.
        UsageError: There is no such variant, ``threads`` makes no sense, ``trust`` holds no public key, nothing of that
            name is installed or active, or the name is also that of a folder here.
    """
    policy = Trust.of(trust, allow_unsigned=allow_unsigned)
    opened = _opener(None, policy, variant=variant, threads=threads, spin=spin)
    return _open(path, opened, store)


def pipeline(  # noqa: PLR0913 - each is one choice of whoever opens it
    task: str,
    model: str | os.PathLike[str],
    *,
    variant: str | None = None,
    threads: int | None = None,
    spin: bool = False,
    store: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
    allow_unsigned: bool = False,
) -> Model:
    """Open a bundle as ``transformers.pipeline`` opens a checkpoint: calling it gives results of the same shape.

    Args:
        task: What it shall be used for, a Hugging Face task name.
        model: The bundle's folder, a packed file, or the name of an installed one.
        variant: See :func:`load`.
        threads: See :func:`load`.
        spin: See :func:`load`.
        store: See :func:`load`.
        trust: See :func:`load`.
        allow_unsigned: See :func:`load`.

    Raises:
        UsageError: The bundle cannot be used for that task, or see :func:`load`.
        IntegrityError: See :func:`load`.
        HostError: See :func:`load`.
    """
    policy = Trust.of(trust, allow_unsigned=allow_unsigned)
    opened = _opener(canonical(task), policy, variant=variant, threads=threads, spin=spin)
    return _open(model, opened, store).named(task)


def open_variant(
    bundle: Bundle,
    variant: Variant,
    *,
    use: str | None = None,
    threads: int | None = None,
    spin: bool = False,
    provider: str | None = None,
) -> Model:
    """Open one variant of an open bundle without asking whether this host is one of its targets.

    The build side judges variants for other CPUs with this; a device calls :func:`load`.

    Args:
        bundle: The open bundle.
        variant: One of its variants.
        use: The task it shall be used for; the bundle's own where None.
        threads: See :func:`load`.
        spin: See :func:`load`.
        provider: Execution provider to run on; that of the variant's targets where None.

    Raises:
        UsageError: The bundle cannot be used for that task.
        IntegrityError: A file is not, byte for byte, what the manifest lists.
        HostError: This onnxruntime cannot run it.
    """
    opened = Opened(bundle, variant, this_host(), threads=threads or usable_threads(), spin=spin, provider=provider)
    return model_of(opened, use=use)


def variant_here(manifest: Manifest, name: str | None = None) -> Variant:
    """The variant that :func:`load` opens on this machine.

    Args:
        manifest: The bundle's.
        name: The variant asked for; None lets the machine decide.

    Raises:
        HostError: This machine runs none; the message says why.
        UsageError: There is no variant of that name.
        IntegrityError: The manifest's version range is malformed.
    """
    check_cpu(manifest, detect_host(), name)  # ahead of the import of ONNX Runtime, which may crash here
    return check_host(manifest, this_host(), onnxruntime_version(), name)


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that makes no sense.

    Raises:
        UsageError: It is given and not 1 to :data:`MAX_THREADS`.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads {threads}: expected 1 to {MAX_THREADS}")


def model_of(opened: Opened, *, use: str | None = None) -> Model:
    """The object that answers for a bundle's task.

    Args:
        opened: The open bundle and how its sessions are made.
        use: The task it shall be used for; the bundle's own where None.

    Raises:
        UsageError: The bundle cannot be used for that task.
        IntegrityError: A file is not, byte for byte, what the manifest lists.
        HostError: This onnxruntime cannot run it.
    """
    module, _, name = _class_for(opened.manifest.task, use).partition(":")
    model: Model = getattr(import_module(f"edgekit.runtime.{module}"), name)(opened)
    opened.loaded()
    return model


def _opener(
    use: str | None, policy: Trust, *, variant: str | None, threads: int | None, spin: bool
) -> Callable[[Bundle], Model]:
    check_threads(threads)

    def opened(bundle: Bundle) -> Model:
        standing = policy.require(bundle)  # before anything else of it is read
        model = open_variant(bundle, variant_here(bundle.manifest, variant), use=use, threads=threads, spin=spin)
        model.standing = standing
        return model

    return opened


def _open(
    path: str | os.PathLike[str], opened: Callable[[Bundle], Model], store: str | os.PathLike[str] | None
) -> Model:
    if not isinstance(path, str) or not _NAME.fullmatch(path):
        return opened(Bundle.open(path))
    from edgekit.bundle.store.store import Store
    from edgekit.runtime.installing import default_store, open_installed  # a bundle by its path needs no store

    place = default_store() if store is None else Store(Path(store))
    if not os.path.lexists(path):
        return open_installed(place, path, opened)
    if path in place.state().slots:
        raise UsageError(
            f"{path}: is an installed bundle, and something of that name is in this folder too",
            hint=f"'./{path}' is the one in this folder; a program that stands elsewhere gets the installed one",
        )
    return opened(Bundle.open(path))


def _class_for(task: str, use: str | None) -> str:
    if use is None or use == task:
        return CLASSES[task]
    if (task, use) not in OTHER_USES:
        raise UsageError(f"the bundle is one for {task}, and cannot be used for {use}")
    return OTHER_USES[task, use]
