"""A bundle's self-test in a child process: a crash, a hang or too much memory ends the child alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgekit.errors import EdgekitError, HostError, IntegrityError, ParityError
from edgekit.runtime import limited_child
from edgekit.runtime.limited_child import ChildError
from edgekit.runtime.model import SelfTest
from edgekit.spec.reader import Table, parse_json

TIME_LIMIT_S: Final = 120.0
MEMORY_LIMIT_BYTES: Final = 2 << 30

_ERRORS: Final[dict[str, type[EdgekitError]]] = {
    error.kind: error for error in (HostError, IntegrityError, ParityError)
}


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
    try:
        data = limited_child.ask(
            f"{__name__}:answer",
            [str(folder)],
            time_limit_s=time_limit_s,
            memory_limit_bytes=memory_limit_bytes,
        )
    except ChildError as error:
        hint = f"it may take {memory_limit_bytes} bytes of memory; `edgekit verify` on the bundle may tell more"
        if error.late:
            hint = "this device is too slow for the bundle"
        elif not error.started:
            hint = f"it is run by {sys.executable}"
        raise HostError(f"the self-test {error.how}", hint=hint) from error
    return _read(parse_json(data, "the self-test's answer"))


def answer(arguments: Sequence[str], write: Callable[[Any], None]) -> None:
    """What the child does."""
    (folder,) = arguments
    write(_try(folder))


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
