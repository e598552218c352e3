"""A check on the terminal: a line for each group, under it what needs a look, then the times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgekit.checks.child import CPU, WALL
from edgekit.checks.findings import ACCEPTED, FAIL, INCONCLUSIVE, NOTE, PASS, CheckReport, Finding
from edgekit.checks.latency import NEW, OLD, Latency, percent
from edgekit.cli.render import Mark, grid, heading, indented, plain, seconds, table

CLOCKS = {CPU: "CPU time", WALL: "wall time"}
STYLES = {PASS: "bold green", FAIL: "bold red", INCONCLUSIVE: "bold yellow"}
SHOWN = (FAIL, INCONCLUSIVE, ACCEPTED)


def report(found: CheckReport) -> list[RenderableType]:
    """Everything, the verdict last."""
    parts: list[RenderableType] = [heading(f"{plain(found.new.name)} against {plain(found.old.name)}")]
    for group, findings in groupby(found.findings, key=lambda finding: finding.group):
        parts += _group(group, list(findings))
    if found.latency:
        parts += _latency(found.latency)
    return [*parts, "", _verdict(found)]


def _group(group: str, findings: Sequence[Finding]) -> list[RenderableType]:
    outcomes = [finding.outcome for finding in findings]
    passed = False if FAIL in outcomes else None if INCONCLUSIVE in outcomes else True
    counts = [
        f"{outcomes.count(outcome)} {word}"
        for outcome, word in ((PASS, "hold"), (FAIL, "fail"), (INCONCLUSIVE, "undecided"), (ACCEPTED, "accepted"))
        if outcome in outcomes
    ]
    notes = [finding for finding in findings if finding.outcome == NOTE]
    line = Table.grid(padding=(0, 1))
    line.add_column(width=2)
    line.add_column(width=13, no_wrap=True)
    line.add_column(style="dim", overflow="fold")
    line.add_row(Mark(passed), group, ", ".join(counts) or f"{len(notes)} noted")
    parts: list[RenderableType] = [Padding(line, (0, 0, 0, 2), expand=False)]
    return parts + [_line(finding) for finding in findings if finding.outcome in SHOWN or finding in notes]


def _line(finding: Finding) -> Padding:
    style = {FAIL: "red", INCONCLUSIVE: "yellow"}.get(finding.outcome, "dim")
    change = f"  {plain(finding.old)} -> {plain(finding.new)}" if finding.old or finding.new else ""
    said = f"  {plain(finding.detail)}" if finding.detail else ""
    word = "accepted: " if finding.outcome == ACCEPTED else ""
    return Padding(Text.assemble((word + plain(finding.name), style), change, (said, "dim")), (0, 0, 0, 5))


def _latency(timed: Latency) -> list[RenderableType]:
    numbers = ["old ms", "new ms", "change", "interval", "old/old"]
    listing = table("latency", *numbers, "", numbers=numbers, fold=["latency"])
    for name, ratio in timed.ratios.items():
        medians = [f"{timed.samples[name][side].median_ms:.2f}" for side in (OLD, NEW)]
        interval = f"{percent(ratio.low)}..{percent(ratio.high)}"
        word = Text(ratio.verdict, STYLES[ratio.verdict])
        listing.add_row(plain(name), *medians, percent(ratio.estimate), interval, percent(ratio.control), word)
    facts = [
        ("margin", f"{timed.plan.margin:.0%}; a verdict errs in 1 of 20 runs at most"),
        (
            "measured",
            (
                f"{CLOCKS[timed.plan.clock]}, {timed.count} blocks of 4 processes, {timed.plan.threads} threads, "
                f"{seconds(timed.seconds)}, seed {timed.plan.seed}"
            ),
        ),
        *_percentiles(timed),
    ]
    return ["", indented(listing), "", grid(facts)]


def _percentiles(timed: Latency) -> list[tuple[str, str]]:
    """Of the new bundle's calls, where there are enough."""
    said = []
    for name, sides in timed.samples.items():
        known = sides[NEW].percentiles_ms()
        if known:
            tail = ", ".join(f"{key.removesuffix('_ms')} {value:.2f} ms" for key, value in known.items())
            said.append((plain(name), f"{tail} of {len(sides[NEW].values_ms)} calls"))
    return said


def _verdict(found: CheckReport) -> Padding:
    error = found.error
    why = f"  {error.kind}, exit code {error.exit_code}" if error else ""
    text = Text.assemble((found.verdict, STYLES[found.verdict]), why, (f"  in {seconds(found.seconds)}", "dim"))
    return Padding(text, (0, 0, 0, 2))
