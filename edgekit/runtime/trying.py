"""A bundle's self-test in a child process: a crash, a hang or too much memory ends the child alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError, HostError, IntegrityError, ParityError
from edgekit.runtime import limited_child
from edgekit.runtime.limited_child import ChildError
from edgekit.runtime.model import SelfTest
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.provider import CPU
from edgekit.spec.reader import Table, parse_json

TIME_LIMIT_S: Final = 120.0
MEMORY_LIMIT_BYTES: Final = 2 << 30  # for tokenizers, activations and Python
# ONNX Runtime holds weights in use once, and packs some of them a second time. The limit allows both twice.
COPIES_OF_WEIGHTS: Final = 2

_OPENED: Final = b'"opened"\n'  # a line of the child
_ERRORS: Final[dict[str, type[EdgekitError]]] = {
    error.kind: error for error in (HostError, IntegrityError, ParityError)
}


def try_out(  # noqa: PLR0913 - each is one choice of whoever asks
    bundle: Bundle,
    variant: Variant,
    *,
    threads: int | None = None,
    verified: bool = False,
    opened: Callable[[], None] | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    memory_limit_bytes: int | None = None,
) -> SelfTest:
    """Verify a bundle, open a variant of it as ``load`` does and replay its golden cases, in a child process.

    The child opens the bundle anew, and goes on only if it is the same one. Whose signature it has is the caller's to
    know.

    Args:
        bundle: The open bundle.
        variant: The one of its variants that this host would run.
        threads: Within one operator; what this process may use where None.
        verified: Whether the whole bundle was verified just now. What the child reads, it verifies in any case.
        opened: Called when the child has opened the variant and begins with the golden cases.
        time_limit_s: After which the child is ended.
        memory_limit_bytes: The most it may take (Linux; other systems do not limit it); :func:`memory_limit` where
            None. Files it maps do not count.

    Returns:
        The self-test's result; it passed.

    Raises:
        ParityError: The answers are not the expected ones.
        IntegrityError: The bundle is not what its manifest lists, or its parts do not fit each other.
        HostError: This host cannot run it; the child crashed, or went over a limit.
    """
    limit = memory_limit(bundle.manifest, variant) if memory_limit_bytes is None else memory_limit_bytes
    asked = {
        "bundle": str(bundle.root),
        "manifest_sha256": bundle.manifest_sha256,
        "variant": variant.name,
        "threads": threads,
        "verified": verified,
    }

    def heard(line: bytes) -> None:
        if opened is not None and line == _OPENED:
            opened()

    try:
        data = limited_child.ask(
            f"{__name__}:answer",
            [json.dumps(asked)],
            time_limit_s=time_limit_s,
            memory_limit_bytes=limit,
            heard=heard,
        )
    except ChildError as error:
        raise _failure(error, limit) from error
    return _read(parse_json(data.removeprefix(_OPENED), "the self-test's answer"))


def memory_limit(manifest: Manifest, variant: Variant) -> int:
    """How much memory a self-test may take, in bytes; 0 for no limit.

    A driver's reservations look like memory to the system, so that only what runs on the CPU is limited.
    """
    if any(manifest.targets[target].execution_provider != CPU for target in variant.targets):
        return 0
    return MEMORY_LIMIT_BYTES + 2 * COPIES_OF_WEIGHTS * weight_bytes(manifest, variant)


def weight_bytes(manifest: Manifest, variant: Variant) -> int:
    """Size of a variant's files."""
    return sum(entry.size for entry in manifest.files if entry.path.startswith(f"{variant.folder}/"))


def answer(arguments: Sequence[str], write: Callable[[Any], None]) -> None:
    """What the child does."""
    (asked,) = arguments
    write(_try(json.loads(asked), lambda: write("opened")))


def _try(asked: dict[str, Any], opened: Callable[[], None]) -> dict[str, Any]:
    try:
        from edgekit.runtime.loading import open_variant

        bundle = Bundle.open(asked["bundle"])
        if bundle.manifest_sha256 != asked["manifest_sha256"]:
            raise IntegrityError(
                f"{bundle.root}: edgekit.json changed while the bundle was tested",
                hint="somebody writes to it: copy it to a place of its own",
            )
        if not asked["verified"]:
            bundle.verify()
        model = open_variant(bundle, bundle.manifest.variant(asked["variant"]), threads=asked["threads"])
        opened()
        result = model.self_test()
    except EdgekitError as error:
        # A path that is no Unicode text is no text of a message either.
        message = error.message.encode("utf-8", "backslashreplace").decode()
        return {"kind": error.kind, "message": message, "hint": error.hint}
    except MemoryError:
        return {"kind": "host", "message": "the self-test needs more memory than it may take", "hint": ""}
    return {
        "cases": result.cases,
        "worst": result.worst,
        "bound": result.bound,
        "passed": result.passed,
        "seconds": result.seconds,
    }


def _failure(error: ChildError, limit: int) -> HostError:
    hint = "its graph crashes this onnxruntime; do not use it unless you trust where it comes from"
    if limit:
        hint = f"it may take {limit} bytes of memory; {hint}"
    if error.late:
        hint = "it is too large for this device, or its graph never ends; `edgekit verify --time-limit` gives it longer"
    elif not error.started:
        hint = f"it is run by {sys.executable}"
    return HostError(f"the self-test {error.how}", hint=hint)


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
