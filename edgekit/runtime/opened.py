"""An opened bundle: verified files and, on demand, the sessions of one variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgekit.bundle.reading import Bundle
from edgekit.runtime.host import Host
from edgekit.runtime.session import Session, open_session
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.settings.section import Section

if TYPE_CHECKING:
    from edgekit.bundle.store.locks import Lock

_Section = TypeVar("_Section", bound=Section)


class Opened:
    """What a task's object is made from.

    Attributes:
        bundle: The open bundle.
        variant: The variant that runs.
        host: The machine it was chosen for.
        threads: Within one operator.
        lease: Where the bundle is an installed version: what keeps its files from being removed.
    """

    def __init__(
        self, bundle: Bundle, variant: Variant, host: Host, *, threads: int, spin: bool, provider: str | None = None
    ) -> None:
        self.bundle = bundle
        self.variant = variant
        self.host = host
        self.threads = threads
        self.lease: Lock | None = None
        self._spin = spin
        self._provider = provider
        self._weights: dict[str, memoryview] = {}
        self._like: Opened | None = None
        self._sessions: dict[str, Session] = {}

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def section(self, kind: type[_Section]) -> _Section:
        """Settings of a kind; see :meth:`Manifest.section`."""
        return self.manifest.section(kind)

    def read(self, path: str) -> bytes:
        """A listed file's verified bytes.

        Raises:
            IntegrityError: The file is not what the manifest lists.
        """
        return bytes(self.bundle.read(path))

    def session(self, component: str = "model") -> Session:
        """The session of a component, opened when first asked for. Components read shared weights once.

        Raises:
            IntegrityError: A file is not what the manifest lists, or the bundle has no such component.
            HostError: This onnxruntime cannot run it.
        """
        if component not in self._sessions:
            self._sessions[component] = open_session(
                self.bundle,
                self.variant,
                component,
                weights=self._weights,
                like=self._like.session(component) if self._like else None,
                threads=self.threads,
                spin=self._spin,
                provider=self._provider,
            )
        return self._sessions[component]

    def with_threads(self, threads: int) -> Opened:
        """The same bundle and variant, to be run by so many threads too.

        What is read of it is verified against the same manifest. Weights that lie outside the graphs are not read a
        second time: both use the same memory, in which nobody writes.
        """
        other = Opened(self.bundle, self.variant, self.host, threads=threads, spin=self._spin, provider=self._provider)
        other._like = self
        return other

    def loaded(self) -> None:
        """No further session will be opened: let go of what only opening needs."""
        self._weights.clear()
        self._like = None

    def close(self) -> None:
        """Give the memory back. Running a session afterwards is a UsageError."""
        for session in self._sessions.values():
            session.close()
        self._weights.clear()
        if self.lease is not None:
            self.lease.release()
