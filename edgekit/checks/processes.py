"""Fresh processes that open a bundle, so that one measurement does not inherit another's state."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edgekit import errors
from edgekit.errors import EdgekitError, HostError

REPLY_S: Final = 120.0  # a model that takes longer for one request is not timed here

_KINDS: Final = {
    kind.kind: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, EdgekitError) and kind is not EdgekitError
}


class Process:
    """A :mod:`.child`, started and opened; its requests are answered one after the other.

    Args:
        request: What it opens and what for.
        reply_s: Longest wait for an answer, seconds.

    Raises:
        EdgekitError: What opening the bundle raised there.
        HostError: The process ended, or did not answer in time.
    """

    def __init__(self, request: Mapping[str, Any], *, reply_s: float = REPLY_S) -> None:
        self._reply_s = reply_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.checks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.ask(request)
        except BaseException:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            EdgekitError: What it raised there.
            HostError: The process ended, or did not answer in time.
        """
        stdin = self._process.stdin
        try:
            assert stdin is not None  # noqa: S101 - a pipe was asked for
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = self._lines.get(timeout=self._reply_s)
        except queue.Empty:
            raise HostError(
                f"a process that was to {request.get('do', 'answer')} gave no answer in {self._reply_s:.0f} s",
                hint="free the machine, or try a smaller bundle",
            ) from None
        except OSError:
            line = ""
        if not line:
            raise self._ended(request)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            found = reply["error"]
            raise _KINDS.get(found["kind"], HostError)(found["message"], hint=found["hint"])
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with contextlib.suppress(OSError):  # it ended before
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._said.close()

    def _listen(self) -> None:
        stdout = self._process.stdout
        try:
            for line in stdout or ():
                self._lines.put(line)
        except ValueError:
            pass  # closed while reading
        self._lines.put("")

    def _ended(self, request: Mapping[str, Any]) -> HostError:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else ""
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return HostError(f"a process that was to {request.get('do', 'answer')} {how}{said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask_once(request: Mapping[str, Any], *, reply_s: float = REPLY_S) -> dict[str, Any]:
    """One answer of a fresh process.

    Raises:
        EdgekitError: See :class:`Process`.
    """
    with Process(request, reply_s=reply_s) as process:
        return process.ask({"do": request["do"]})


def opening(do: str, bundle: Path, variant: str, asked_of: tuple[Path, ...] = (), *, threads: int) -> dict[str, Any]:
    """The first request of a process.

    Args:
        do: ``graph``, ``start`` or ``time``.
        bundle: What it opens.
        variant: Of the bundle.
        asked_of: The bundles that are to be asked alike, the one whose golden inputs may be asked last.
        threads: Of the session.
    """
    return {
        "do": do,
        "bundle": str(bundle),
        "variant": variant,
        "asked_of": [str(path) for path in asked_of],
        "threads": threads,
    }
