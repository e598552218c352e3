"""``edgekit report``: one page about a bundle, to look at before it ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.inspection import BundleArgument
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.errors import OutputError


def report(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    against: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="A baseline to show beside it.", show_default=False)
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Take times, memory and energy on this machine.")
    ] = True,
    seconds: Annotated[float, typer.Option(min=1.0, metavar="S", help="Time for latency beside a baseline.")] = 90.0,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads while timing.")] = 1,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make one self-contained page: parity, candidates, portability, latency, memory, provenance."""
    from edgekit.checks.latency import Plan
    from edgekit.cli.progress import StageList
    from edgekit.report import facts
    from edgekit.report.making import make
    from edgekit.spec.progress import Silent

    screen = Screen.of(context, as_json=as_json, debug=debug)
    plan = Plan(limit_s=seconds, threads=threads) if measure else None
    if screen.json:
        page, text = make(bundle, against, plan, Silent())
    else:
        with StageList(screen.console(stderr=True)).drawing() as progress:
            page, text = make(bundle, against, plan, progress)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}", hint="name another file") from error
    if screen.json:
        screen.result(facts.to_json(page) | {"page": str(output)})
    else:
        from edgekit.cli.render import size

        screen.show(f"  {output} ({size(len(text.encode()))}); open it in a browser")
