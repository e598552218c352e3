"""Open a bundle for use on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.errors import UsageError
from edgekit.runtime.embedding import Embedder
from edgekit.runtime.host import detect_host, usable_threads
from edgekit.runtime.selection import check_host
from edgekit.runtime.session import Session, onnxruntime_version, open_session
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
    # Both halves spend their time outside Python: side by side they shorten the cold start by a tenth.
    opening = _Thread(lambda: open_session(bundle, variant, threads=threads or usable_threads(), spin=spin))
    try:
        text = TextEncoder(bundle.read(bundle.manifest.text.tokenizer), bundle.manifest.text)
    finally:
        opening.join()
    return Embedder(bundle, variant, detect_host(), text, opening.result())


class _Thread(threading.Thread):
    """A call in a thread of its own, started at once. concurrent.futures would cost its import."""

    def __init__(self, call: Callable[[], Session]) -> None:
        super().__init__(name="edgekit-open")
        self._call = call
        self._result: Session | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error

    def result(self) -> Session:
        """What the call returned, or its exception; after :meth:`join`."""
        if self._result is None:
            raise self._error or AssertionError("the thread was not joined")
        return self._result
