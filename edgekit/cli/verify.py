"""``edgekit verify``: is the bundle whole, does this machine run it, does it answer as promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.proving import EvidenceOption, OnOption, TimeLimitOption, prove_on
from edgekit.cli.run import ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption
from edgekit.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Standing, Trust
    from edgekit.runtime import SelfTest
    from edgekit.spec.manifest import Variant

_STANDINGS: Final = {
    "signed": "by {key}, which is trusted",
    "unsigned": "none, and that was allowed",
    "unchecked": "not asked for; the release is not older than asked",
}


def verify(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    on: OnOption = None,
    evidence: EvidenceOption = None,
    time_limit: TimeLimitOption = None,
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    min_release: Annotated[
        int, typer.Option(min=0, metavar="N", help="Refuse a bundle whose release counter is lower.")
    ] = 0,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check every digest, whether this machine can run the bundle, and its golden answers; with --on elsewhere too."""
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Trust
    from edgekit.runtime.host import detect_host

    screen = Screen.of(context, as_json=as_json, debug=debug)
    with _step("integrity", screen) as found:
        opened = Bundle.open(bundle)
        with bytes_bar(screen, "reading") as advance:
            opened.verify(advance)
        size_bytes = sum(entry.size for entry in opened.manifest.files)
        found(f"{len(opened.manifest.files)} files, every digest matches")
    standing = _standing(opened, Trust.of(trust, allow_unsigned=allow_unsigned), min_release, screen)
    if on:
        prove_on(bundle, on, screen, evidence=evidence, time_limit=time_limit)
        return
    chosen, result = _answers(opened, variant, threads, time_limit, screen)
    if screen.json:
        screen.result(
            {
                "integrity": {"files": len(opened.manifest.files), "size_bytes": size_bytes},
                "signature": {"state": standing.state, "key": standing.key, "fingerprint": standing.fingerprint},
                "host": {"variant": chosen.name, "architecture": detect_host().architecture},
                "answers": {"cases": result.cases, "worst_agreement": result.worst, "bound": result.bound},
            }
        )


def _standing(bundle: Bundle, policy: Trust, min_release: int, screen: Screen) -> Standing:
    if not policy.asked and not min_release:
        return policy.require(bundle)  # nothing was asked for, so nothing is ticked
    with _step("signature", screen) as found:
        standing = policy.require(bundle, min_release=min_release)
        found(_STANDINGS[standing.state].format(key=standing.key))
    return standing


def _answers(
    bundle: Bundle, variant: str | None, threads: int | None, time_limit: float | None, screen: Screen
) -> tuple[Variant, SelfTest]:
    """Open and ask it in a child process: what a graph computes may crash, never end or fill the memory."""
    from edgekit.runtime import loading, trying

    step = "this host"
    try:
        loading.check_threads(threads)
        chosen = loading.variant_here(bundle.manifest, variant)

        def opened() -> None:
            nonlocal step
            _tick(step, f"runs {chosen.name} ({chosen.recipe})", screen, passed=True)
            step = "answers"

        result = trying.try_out(
            bundle,
            chosen,
            threads=threads,
            verified=True,
            opened=opened,
            time_limit_s=time_limit or trying.TIME_LIMIT_S,
        )
    except EdgekitError:
        _tick(step, "", screen, passed=False)
        raise
    found = f"{result.cases} golden cases, worst agreement {result.worst:.6f} (at least {result.bound:g})"
    _tick(step, found, screen, passed=True)
    return chosen, result


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
