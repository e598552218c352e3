"""WebAssembly and WebGPU: ONNX Runtime's own build for the web, in Node and in headless Chromium."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgekit.errors import HostError
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Job, Ran
from edgekit.runtime.host import Host
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU_ONLY
from edgekit.spec.target import ANY, WASM


class Node:
    """WebAssembly in Node."""

    kind = "wasm"

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Get ready."""
        progress.note("")
        raise HostError("not yet")

    def host(self) -> Host:
        """What it stands for."""
        return Host(WASM, frozenset({"simd128"}), "WebAssembly", "node", CPU_ONLY)

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run it."""
        raise NotImplementedError


class Browser(Node):
    """WebGPU in Chromium."""

    kind = "webgpu"

    def host(self) -> Host:
        """What it stands for."""
        return Host(ANY, frozenset(), "WebGPU", "chromium", frozenset({"WebGpuExecutionProvider"}))
