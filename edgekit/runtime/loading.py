"""Open a bundle for use on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.errors import UsageError
from edgekit.runtime.embedding import Embedder
from edgekit.runtime.host import detect_host, usable_threads
from edgekit.runtime.selection import check_host
from edgekit.runtime.session import onnxruntime_version, open_session
from edgekit.runtime.text import TextEncoder, check_inputs
from edgekit.spec.manifest import Variant

MAX_THREADS = 1024


def load(
    path: str | os.PathLike[str], *, variant: str | None = None, threads: int | None = None, spin: bool = False
) -> Embedder:
    """Open a bundle: verify what is used, decide whether and how this host runs it, open the session.

    Args:
        path: The bundle's folder.
        variant: Its variant; None takes the one for this CPU's features.
        threads: Threads within one operator; None takes what the CPU affinity and the cgroup's quota allow.
        spin: Whether idle threads burn CPU to answer sooner.

    Returns:
        The object for the bundle's task.

    Raises:
        IntegrityError: The bundle is not, byte for byte, what its manifest lists.
        HostError: This host cannot run it; the message says why.
        UsageError: There is no such variant, or ``threads`` makes no sense.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads {threads}: expected 1 to {MAX_THREADS}")
    bundle = Bundle.open(Path(path))
    chosen = check_host(bundle.manifest, detect_host(), onnxruntime_version(), variant)
    return open_variant(bundle, chosen, threads=threads, spin=spin)


def open_variant(bundle: Bundle, variant: Variant, *, threads: int | None = None, spin: bool = False) -> Embedder:
    """Open one variant of an open bundle without asking whether this host is one of its targets.

    The build side judges variants for other CPUs with this; a device calls :func:`load`.

    Raises:
        IntegrityError: A file is not, byte for byte, what the manifest lists.
        HostError: This onnxruntime cannot run it.
    """
    check_inputs(bundle.manifest.inputs)
    text = TextEncoder(bundle.read(bundle.manifest.text.tokenizer), bundle.manifest.text)
    session = open_session(bundle, variant, threads=threads or usable_threads(), spin=spin)
    return Embedder(bundle, variant, detect_host(), text, session)
