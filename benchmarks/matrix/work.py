"""One proof in one child process, with limits of time and memory, so that a crash costs one row."""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Final

from benchmarks.matrix.table import Architecture

LIMIT_SECONDS: Final = 300
LIMIT_BYTES: Final = 12 << 30
# Imported once, in the server that children fork from: torch and transformers cost seconds each.
_PRELOAD: Final = ("benchmarks.matrix.warm",)

Result = dict[str, Any]


def workers() -> ForkServerContext:
    """A place to fork children from; made once per run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    return context


def attempt(context: ForkServerContext, row: Architecture, task: str, *, limit_seconds: int = LIMIT_SECONDS) -> Result:
    """Prove one task of one architecture in a child; whatever happens there comes back as a result."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        answer = Path(folder) / "result.json"
        child = context.Process(target=_child, args=(row, task, answer), daemon=True)
        start = time.perf_counter()
        child.start()
        child.join(limit_seconds)
        if child.is_alive():
            child.kill()
            child.join()
            found: Result = {"result": "cannot", "reason": f"no end within {limit_seconds} s"}
        elif answer.exists():
            found = json.loads(answer.read_text(encoding="utf-8"))
        else:
            found = {"result": "cannot", "reason": f"the process died with exit code {child.exitcode}"}
    whole = round(time.perf_counter() - start, 1)
    return {"type": row.name, "modality": row.modality, "task": task, "whole_seconds": whole, **found}


def _child(row: Architecture, task: str, answer: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    from benchmarks.matrix import proof

    answer.write_text(json.dumps(proof.prove(row, task, answer.parent)), encoding="utf-8")
