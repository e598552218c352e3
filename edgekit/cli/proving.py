"""``edgekit verify --on``: the table of what each environment proved, and where the evidence goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgekit.cli.build_side import INSTALL
from edgekit.cli.screen import Screen
from edgekit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from edgekit.portability import Proof, Report
    from edgekit.spec.progress import Progress


def complete_environment(incomplete: str) -> list[tuple[str, str]]:
    """What ``--on`` takes, for the shell."""
    from edgekit import catalog

    known = [(target.name, target.summary) for target in catalog.targets().values()]
    known += [(device.name, device.summary) for device in catalog.devices().values()]
    known += [
        ("native", "this machine"),
        ("onnxruntime-oldest", "the oldest onnxruntime the bundle says it needs"),
        ("onnxruntime-newest", "the newest onnxruntime known"),
        (catalog.ALL, "every environment there is"),
    ]
    return [pair for pair in known if pair[0].startswith(incomplete)]


OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="TARGET",
        help="Run the bundle there and judge it: a target, a device, native, onnxruntime-oldest, onnxruntime-newest, "
        "or all. May be given more than once.",
        show_default=False,
        autocompletion=complete_environment,
    ),
]
EvidenceOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Where the evidence of --on goes, instead of into the bundle.", show_default=False
    ),
]
TimeLimitOption = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=1,
        metavar="SECONDS",
        help="For the answers here, 120 otherwise; with --on for each environment, 300 otherwise.",
        show_default=False,
    ),
]
TIME_LIMIT: Final = 300.0

_STYLES: Final = {
    "pass": "bold green",
    "wrong answers": "bold red",
    "cannot run": "bold red",
    "over limit": "bold red",
    "not trusted": "bold yellow",
    "not available": "bold yellow",
}


def prove_on(
    bundle: Path, names: Sequence[str], screen: Screen, *, evidence: Path | None, time_limit: float | None
) -> None:
    """Prove a bundle in the environments named, keep the evidence, and show it.

    Raises:
        EdgekitError: The gravest outcome, after the evidence is written and shown.
        typer.Exit: The same in JSON, where the outcome is part of the result.
    """
    from edgekit.bundle.resealing import add_evidence, check_resealable

    try:
        from edgekit.portability import prove
        from edgekit.portability.report import EVIDENCE
    except ModuleNotFoundError as missing:
        raise UsageError(f"--on needs {missing.name!r}, which is not installed", hint=INSTALL) from missing
    if evidence is None:
        check_resealable(bundle)
    with _progress(screen) as progress:
        report = prove(bundle, names, progress, time_limit=time_limit or TIME_LIMIT)
    if evidence is None:
        add_evidence(bundle, EVIDENCE, report.to_bytes())
        place = f"{bundle}/{EVIDENCE}"
    else:
        _write(evidence, report.to_bytes())
        place = str(evidence)
    error = report.error()
    if screen.json:
        found = {"kind": error.kind, "message": error.message, "hint": error.hint} if error else None
        screen.result(
            {"portability": report.to_json(), "evidence": place, "exit_code": report.exit_code, "error": found}
        )
        raise typer.Exit(report.exit_code)
    screen.show(*shown(report, place))
    if error:
        raise error


def shown(report: Report, place: str) -> list[RenderableType]:
    """The report as a table, what was not asked for, and where the evidence is."""
    from edgekit.cli.render import grid, heading, indented, plain, table

    numbers, words = ["golden", "here"], "where it ran, or why not"
    variants = len({proof.variant for proof in report.proofs if proof.variant}) > 1
    listing = table("on", "outcome", *numbers, *(["variant"] if variants else []), words, numbers=numbers, fold=[words])
    for proof in report.proofs:
        listing.add_row(
            plain(proof.name),
            _outcome(proof),
            *("" if found is None else f"{found.worst:.4f}" for found in (proof.golden, proof.native)),
            *([plain(proof.variant)] if variants else []),
            _words(proof),
        )
    facts = [("golden, here", "worst agreement with the golden answers, and with this machine's; 1 is the very same")]
    facts += [("not proved", f"{name}: {reason}") for name, reason in report.uncovered.items()]
    return [heading("Portability"), indented(listing), "", grid([*facts, ("evidence", place)]), ""]


def _outcome(proof: Proof) -> Text:
    from rich.text import Text

    words = Text(str(proof.outcome), style=_STYLES.get(str(proof.outcome), "") if proof.decides else "dim")
    if not proof.claimed and str(proof.outcome) != "not claimed":
        words.append("\nnot claimed", style="dim")
    return words


def _words(proof: Proof) -> Text:
    from rich.text import Text

    from edgekit.cli.render import plain

    facts = dict(proof.facts)
    if facts.get("software") == "true" and facts.get("adapter"):
        facts["adapter"] += " (software)"
    labels = {"node": "Node ", "onnxruntime": "onnxruntime ", "onnxruntime-web": "onnxruntime-web "}
    order = ("emulator", "cpu", "adapter", "browser", "node", "onnxruntime-web", "onnxruntime")
    where = plain(", ".join(f"{labels.get(name, '')}{facts[name]}" for name in order if facts.get(name)))
    if proof.outcome == "pass":
        return Text(where, style="dim")
    return Text(plain(proof.reason)).append(f"\n{where}" if where else "", style="dim")


@contextlib.contextmanager
def _progress(screen: Screen) -> Iterator[Progress]:
    from edgekit.cli.progress import StageList
    from edgekit.spec.progress import Silent

    if screen.json:
        yield Silent()
        return
    with StageList(screen.console(stderr=True)).drawing() as progress:
        yield progress


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
