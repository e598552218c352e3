"""``edgekit verify``: is the bundle whole, does this machine run it, does it answer as promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.run import ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import EdgekitError, ParityError

if TYPE_CHECKING:
    from edgekit.runtime import SelfTest


def verify(
    context: typer.Context,
    bundle: BundleArgument,
    *,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check every digest, whether this machine can run the bundle, and its golden answers."""
    from edgekit.bundle.reading import Bundle

    screen = Screen.of(context, as_json=as_json, debug=debug)
    with _step("integrity", screen) as found:
        opened = Bundle.open(bundle)
        with bytes_bar(screen, "reading") as advance:
            opened.verify(advance)
        size_bytes = sum(entry.size for entry in opened.manifest.files)
        found(f"{len(opened.manifest.files)} files, every digest matches")
    with _step("this host", screen) as found:
        from edgekit.runtime import load

        model = load(bundle, variant=variant, threads=threads)
        found(f"runs {model.variant.name} ({model.variant.recipe})")
    with _step("answers", screen) as found:
        result = model.self_test()
        _require_passed(result)
        found(f"{result.cases} golden cases, worst agreement {result.worst:.6f} (at least {result.bound:g})")
    if screen.json:
        screen.result(
            {
                "integrity": {"files": len(opened.manifest.files), "size_bytes": size_bytes},
                "host": {"variant": model.variant.name, "architecture": model.host.architecture},
                "answers": {"cases": result.cases, "worst_agreement": result.worst, "bound": result.bound},
            }
        )


def _require_passed(result: SelfTest) -> None:
    if not result.passed:
        raise ParityError(
            f"golden cases: worst agreement {result.worst:.6f} of {result.cases}, expected at least {result.bound:g}",
            hint="this onnxruntime or CPU computes differently; export again on or for this machine",
        )


@contextmanager
def _step(name: str, screen: Screen) -> Iterator[Callable[[str], None]]:
    # What was found is printed when the step ends, ticked or crossed.
    found: list[str] = []
    try:
        yield found.append
    except EdgekitError:
        _tick(name, "", screen, passed=False)
        raise
    _tick(name, ", ".join(found), screen, passed=True)


def _tick(name: str, text: str, screen: Screen, *, passed: bool) -> None:
    if screen.json:
        return
    from rich.table import Table

    from edgekit.cli.render import Mark, plain

    line = Table.grid(padding=(0, 1))
    line.add_column(width=2)
    line.add_column(width=10)
    line.add_column(style="dim", overflow="fold")
    line.add_row(Mark(passed), name, plain(text))
    screen.show(line)
