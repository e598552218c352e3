"""WebAssembly and WebGPU: ONNX Runtime's own build for the web, in Node and in headless Chromium.

Only the graphs run there, on tensors that this machine's run put on tape; see :mod:`edgekit.portability.tape`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from edgekit.errors import HostError
from edgekit.portability import npm
from edgekit.portability.children import End, Ended, Limits, run_limited
from edgekit.portability.graph_jobs import read_graphs_ran, write_graph_job
from edgekit.portability.jobs import Failure, Job, Ran
from edgekit.portability.page_server import PageServer
from edgekit.runtime.host import Host
from edgekit.spec.progress import Progress
from edgekit.spec.provider import CPU_ONLY
from edgekit.spec.target import ANY, WASM

WEBGPU: Final = "WebGpuExecutionProvider"

_NODE: Final = ("node", "nodejs")
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SOFTWARE: Final = "--use-webgpu-adapter=swiftshader"
_GPUS: Final = ("/dev/dri", "/dev/nvidia0", "/dev/kfd")
_FLAGS: Final = (
    "--headless=new",
    "--enable-unsafe-webgpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)


class Node:
    """WebAssembly in Node.

    Args:
        cache: Where onnxruntime-web is kept.
    """

    kind = "wasm"

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._runtime: npm.WebRuntime | None = None

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Find Node and get onnxruntime-web.

        Raises:
            HostError: There is no Node, or the package cannot be fetched.
        """
        program = _program(_NODE, "Node", "on Debian and Ubuntu: apt install nodejs npm")
        self._runtime = npm.onnxruntime_web(self._cache, progress)
        return {"onnxruntime-web": self._runtime.version, "node": _version(program)}

    def host(self) -> Host:
        """WebAssembly with SIMD."""
        return Host(WASM, frozenset({"simd128"}), "WebAssembly", "web", CPU_ONLY)

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run the variant's graphs in Node."""
        assert self._runtime is not None, "prepared"  # noqa: S101 - the protocol's order
        graphs = write_graph_job(job, "wasm", folder)
        ended = run_limited(
            [_program(_NODE, "Node", ""), _runner() / "node.mjs", self._runtime.folder, folder / "job.json"],
            limits,
            log=folder / "log.txt",
            environment={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        )
        return read_graphs_ran(job, graphs, folder, ended)


class Browser:
    """WebGPU in headless Chromium, on a GPU where there is one and on SwiftShader elsewhere.

    Args:
        cache: Where onnxruntime-web is kept.
    """

    kind = "webgpu"

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._runtime: npm.WebRuntime | None = None

    def prepare(self, progress: Progress) -> Mapping[str, str]:
        """Find Chromium and get onnxruntime-web.

        Raises:
            HostError: There is no Chromium, or the package cannot be fetched.
        """
        program = _program(_BROWSERS, "Chromium", "on Debian: apt install chromium")
        self._runtime = npm.onnxruntime_web(self._cache, progress)
        return {"onnxruntime-web": self._runtime.version, "browser": f"Chromium {_version(program)}"}

    def host(self) -> Host:
        """A GPU through WebGPU."""
        return Host(ANY, frozenset(), "WebGPU", "web", frozenset({WEBGPU}))

    def run(self, job: Job, folder: Path, limits: Limits) -> Ran:
        """Run the variant's graphs in a page that is served to this machine alone."""
        if any(Path(device).exists() for device in _GPUS):
            hardware = folder / "gpu"
            hardware.mkdir()
            ran = self._run(job, hardware, limits, ())
            if ran.facts.get("adapter"):
                return ran
        software = folder / "software"
        software.mkdir()
        ran = self._run(job, software, limits, (_SOFTWARE,))
        if not ran.facts.get("adapter") and ran.failure:
            return Ran(ran.facts, (), (), Failure("the browser has no WebGPU adapter", of_environment=True))
        return ran

    def _run(self, job: Job, folder: Path, limits: Limits, flags: tuple[str, ...]) -> Ran:
        assert self._runtime is not None, "prepared"  # noqa: S101 - the protocol's order
        graphs = write_graph_job(job, "webgpu", folder)
        profile = folder / "profile"
        rooted = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()  # it refuses root otherwise
        with PageServer(_runner(), self._runtime.folder, folder) as server:
            ended = run_limited(
                [
                    _program(_BROWSERS, "Chromium", ""),
                    *_FLAGS,
                    *rooted,
                    *flags,
                    f"--user-data-dir={profile}",
                    server.address,
                ],
                limits,
                log=folder / "log.txt",
                environment=dict(os.environ),
                until=server.ended,
            )
        if ended.how is End.FAILED and server.ended():
            ended = Ended(End.FINISHED)
        return read_graphs_ran(job, graphs, folder, ended)


def _program(names: tuple[str, ...], what: str, hint: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise HostError(f"{what} is not on this machine", hint=hint)
    return found


def _version(program: str) -> str:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    match = re.search(r"\d+(\.\d+)+", said)
    return match[0] if match else "of unknown version"


def _runner() -> Path:
    return Path(str(resources.files("edgekit.portability").joinpath("web_runner")))
