"""A bundle's self-test in a child process: a crash, a hang or too much memory ends the child alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from edgekit.errors import EdgekitError, HostError, IntegrityError, ParityError
from edgekit.runtime.model import SelfTest
from edgekit.spec.reader import Table, parse_json

TIME_LIMIT_S: Final = 120.0
MEMORY_LIMIT_BYTES: Final = 2 << 30

_MAX_ANSWER_BYTES: Final = 1 << 16
_ERRORS: Final[dict[str, type[EdgekitError]]] = {
    error.kind: error for error in (HostError, IntegrityError, ParityError)
}
# The parent's own search path, and nothing from the folder it happens to stand in (-P).
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from edgekit.runtime.trying import answer; answer(sys.argv[2], int(sys.argv[3]))"
)


def try_out(
    folder: Path, *, time_limit_s: float = TIME_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES
) -> SelfTest:
    """Verify a bundle, open it as :func:`edgekit.runtime.load` does and replay its golden cases, in a child process.

    Args:
        folder: The bundle's.
        time_limit_s: After which the child is ended.
        memory_limit_bytes: The most it may take (Linux; other systems do not limit it). Files it maps do not count.

    Returns:
        The self-test's result; it passed.

    Raises:
        ParityError: The answers are not the expected ones.
        IntegrityError: The bundle is not what its manifest lists.
        HostError: This host cannot run it; the child crashed, or went over a limit.
    """
    arguments = [json.dumps(sys.path), str(folder), str(memory_limit_bytes)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}  # few reservations to limit
    try:
        child = subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-P", "-c", _START, *arguments],
            stdin=subprocess.PIPE,  # its end tells the child that nobody waits for it any more
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise HostError(
            f"the self-test cannot be started: {error.strerror}", hint=f"it is run by {sys.executable}"
        ) from error
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(time_limit_s, end)
    timer.start()
    try:
        with child:
            data = child.stdout.read(_MAX_ANSWER_BYTES) if child.stdout else b""
            child.kill()  # whatever it still wanted to do
    finally:
        timer.cancel()
    if late.is_set():
        raise HostError(f"the self-test took over {time_limit_s:g} s", hint="this device is too slow for the bundle")
    if not data.endswith(b"\n"):
        raise HostError(
            f"the self-test {_ended(child.returncode)}",
            hint=f"it may take {memory_limit_bytes} bytes of memory; `edgekit verify` on the bundle may tell more",
        )
    return _read(parse_json(data, "the self-test's answer"))


def answer(folder: str, memory_limit_bytes: int) -> None:
    """What the child does; it writes one JSON object to the standard output it was given."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what libraries print is no answer
        threading.Thread(target=_follow_parent, daemon=True).start()
        _limit(memory_limit_bytes)
        output.write(json.dumps(_try(folder)).encode() + b"\n")


def _try(folder: str) -> dict[str, Any]:
    try:
        from edgekit.bundle.reading import Bundle
        from edgekit.runtime.loading import load

        Bundle.open(folder).verify()
        # Its origin was judged when it was installed, and is again by whoever loads it.
        result = load(Path(folder), allow_unsigned=True).self_test()
    except EdgekitError as error:
        return {"kind": error.kind, "message": error.message, "hint": error.hint}
    except MemoryError:
        return {"kind": "host", "message": "the self-test needs more memory than it may take", "hint": ""}
    return {
        "cases": result.cases,
        "worst": result.worst,
        "bound": result.bound,
        "passed": result.passed,
        "seconds": result.seconds,
    }


def _read(table: Table) -> SelfTest:
    if "kind" in table:
        kind = table.string("kind")
        raise _ERRORS.get(kind, HostError)(table.string("message", max_length=1 << 16), hint=table.string("hint"))
    result = SelfTest(
        table.integer("cases"),
        table.number("worst"),
        table.number("bound"),
        table.boolean("passed"),
        table.number("seconds"),
    )
    if not result.passed:
        raise ParityError(
            f"golden cases: worst agreement {result.worst:.6f} of {result.cases}, expected at least {result.bound:g}",
            hint="this onnxruntime or CPU computes differently; export again on or for this machine",
        )
    return result


def _follow_parent() -> None:
    # The parent holds the other end and writes nothing: the end comes when the parent is gone.
    os.read(0, 1)
    os._exit(1)


def _limit(memory_bytes: int) -> None:
    try:
        resource = import_module("resource")
    except ImportError:
        return  # Windows
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):
        return  # a lower limit is in force already, or the system takes none


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no answer"
    return f"crashed (signal {-code})"
