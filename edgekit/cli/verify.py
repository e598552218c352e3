"""``edgekit verify``: is the bundle whole, does this machine run it, does it answer as promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgekit.cli.bytes_bar import bytes_bar
from edgekit.cli.inspection import BundleArgument
from edgekit.cli.run import ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption, trusting
from edgekit.errors import EdgekitError, ParityError

if TYPE_CHECKING:
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Standing, Trust
    from edgekit.runtime import SelfTest

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
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    min_release: Annotated[
        int, typer.Option(min=0, metavar="N", help="Refuse a bundle whose release counter is lower.")
    ] = 0,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check every digest, whether this machine can run the bundle, and its golden answers."""
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Trust

    screen = Screen.of(context, as_json=as_json, debug=debug)
    with _step("integrity", screen) as found:
        opened = Bundle.open(bundle)
        with bytes_bar(screen, "reading") as advance:
            opened.verify(advance)
        size_bytes = sum(entry.size for entry in opened.manifest.files)
        found(f"{len(opened.manifest.files)} files, every digest matches")
    standing = _standing(opened, Trust.of(trust, allow_unsigned=allow_unsigned), min_release, screen)
    with _step("this host", screen) as found:
        from edgekit.runtime import load

        model = load(bundle, variant=variant, threads=threads, **trusting(trust, allow_unsigned=allow_unsigned))
        found(f"runs {model.variant.name} ({model.variant.recipe})")
    with _step("answers", screen) as found:
        result = model.self_test()
        _require_passed(result)
        found(f"{result.cases} golden cases, worst agreement {result.worst:.6f} (at least {result.bound:g})")
    if screen.json:
        screen.result(
            {
                "integrity": {"files": len(opened.manifest.files), "size_bytes": size_bytes},
                "signature": {"state": standing.state, "key": standing.key, "fingerprint": standing.fingerprint},
                "host": {"variant": model.variant.name, "architecture": model.host.architecture},
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
