"""A child process with limits: work whose input may make it crash, hang or take all memory ends the child alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import IO, Any, Final

_MAX_ANSWER_BYTES: Final = 1 << 16
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|_KEY", re.IGNORECASE)  # in names of variables
_END: Final = b"end\n"  # the last line, no JSON
# The parent's own search path, and nothing from the folder it happens to stand in (-P).
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from edgekit.runtime.limited_child import answer; answer(sys.argv[2], int(sys.argv[3]), sys.argv[4:])"
)


class ChildError(Exception):
    """The child did not answer. Whoever asked puts it into the user's words.

    Attributes:
        how: What became of it, to follow a subject: ``crashed (signal 11)``, ``took over 5 s``.
        late: Whether it was ended because it took too long.
        started: Whether there was a child at all.
        said: What it wrote before it ended.
    """

    def __init__(self, how: str, *, late: bool = False, started: bool = True, said: bytes = b"") -> None:
        super().__init__(how)
        self.how = how
        self.late = late
        self.started = started
        self.said = said


def ask(
    work: str,
    arguments: Sequence[str],
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    heard: Callable[[bytes], None] | None = None,
) -> bytes:
    """Call a function in a child process, which does not get the variables that look like secrets.

    Args:
        work: ``module:function``; called with ``arguments`` and a function that writes one JSON value as a line.
        arguments: Texts.
        time_limit_s: After which the child is ended.
        memory_limit_bytes: The most it may take (Linux; other systems do not limit it), 0 for no limit. Files it maps
            do not count.
        heard: Called with each line as it comes.

    Returns:
        All lines that it wrote.

    Raises:
        ChildError: It did not come to the end.
    """
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    environment |= {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}  # few reservations to limit
    try:
        child = subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path), work, str(memory_limit_bytes), *arguments],
            stdin=subprocess.PIPE,  # its end tells the child that nobody waits for it any more
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise ChildError(f"cannot be started: {error.strerror}", started=False) from error
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(time_limit_s, end)
    timer.start()
    try:
        with child:
            try:
                data = _listen(child.stdout, heard)
            finally:
                child.kill()  # whatever it still wanted to do
    finally:
        timer.cancel()
    if late.is_set():
        raise ChildError(f"took over {time_limit_s:g} s", late=True, said=data)
    if not data.endswith(_END):
        raise ChildError(_ended(child.returncode), said=data)
    return data.removesuffix(_END)


def _listen(output: IO[bytes] | None, heard: Callable[[bytes], None] | None) -> bytes:
    lines: list[bytes] = []
    left = _MAX_ANSWER_BYTES
    while output and left and (line := output.readline(left)):
        lines.append(line)
        left -= len(line)
        if heard is not None:
            heard(line)
    return b"".join(lines)


def answer(work: str, memory_limit_bytes: int, arguments: Sequence[str]) -> None:
    """What the child does; its lines go to the standard output that it was given."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as output:
        os.dup2(2, 1)  # what libraries print is no answer
        threading.Thread(target=_follow_parent, daemon=True).start()
        _limit(memory_limit_bytes)
        module, _, name = work.partition(":")
        call: Callable[[Sequence[str], Callable[[Any], None]], None] = getattr(import_module(module), name)
        call(arguments, lambda value: _write(output, json.dumps(value).encode() + b"\n"))
        _write(output, _END)


def _write(output: Any, data: bytes) -> None:
    while data:
        data = data[output.write(data) :]


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
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    except (ValueError, OSError):
        return  # a lower limit is in force already, or the system takes none


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no answer"
    return f"crashed (signal {-code})"
