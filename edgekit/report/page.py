"""The page: facts become tables and charts, and a template becomes one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.checks.footprint import MEMORY, megabytes
from edgekit.checks.latency import NEW, OLD, percent
from edgekit.report import plots
from edgekit.report.facts import NOT_MEASURABLE, Page, folder_bytes
from edgekit.runtime.timing import Sample
from edgekit.spec.evidence import Searched, VariantEvidence
from edgekit.spec.parity import Check
from edgekit.spec.spread import EDGES

TEMPLATE: Final = "page.html.jinja"
SIGNS: Final = {"pass": "✓", "fail": "✗", "inconclusive": "?", "unproven": "?", "note": "·", "accepted": "☑"}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings.

    Attributes:
        head: The headings.
        rows: Cells, as many as headings.
        numbers: Indices of the columns that hold numbers.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and what it says, for those who cannot see it."""

    svg: Any
    caption: str


def render(page: Page) -> str:
    """The page as HTML.

    Raises:
        UsageError: The libraries of the extra are not installed.
    """
    plots.available()
    import jinja2  # an extra: a device has none

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        page=page,
        manifest=page.manifest,
        signs=SIGNS,
        facts=_facts(page),
        findings=_findings(page),
        variants=_variants(page),
        spread=_spread(page),
        candidates=_candidates(page),
        places=_places(page),
        latency=_latency(page),
        memory=_memory(page),
        energy=_energy(page),
        files=_files(page),
        not_measurable=NOT_MEASURABLE,
    )


def _facts(page: Page) -> list[tuple[str, str]]:
    manifest = page.manifest
    return [
        ("task", manifest.task),
        ("model", f"{manifest.source.name} ({manifest.source.architecture})"),
        ("size", f"{megabytes(folder_bytes(manifest))} in {len(manifest.files)} files"),
        ("targets", ", ".join(manifest.targets)),
        ("needs", f"onnxruntime {manifest.onnxruntime}"),
        *(fact for section in manifest.settings.values() for fact in section.facts()),
    ]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check against the baseline found: what differs, and the rest."""

    changed: Table
    same: Table


def _findings(page: Page) -> Findings | None:
    if not page.findings:
        return None
    changed: list[tuple[str, ...]] = []
    same: list[tuple[str, ...]] = []
    for one in page.findings:
        differs = one.outcome in ("fail", "inconclusive", "accepted") or (one.old != one.new and bool(one.old))
        row = (SIGNS[one.outcome], one.group, one.name, one.old, one.new, one.detail)
        (changed if differs else same).append(row)
    head = ("", "group", "what", "baseline", "new", "")
    return Findings(Table(head, tuple(changed)), Table(head, tuple(same)))


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant's block."""

    name: str
    recipe: str
    size: str
    targets: str
    verdict: str
    reason: str
    changed: str
    checks: Table
    worst: tuple[tuple[str, Mapping[str, str]], ...]


def _variants(page: Page) -> list[Variant]:
    known = page.evidence.variants if page.evidence else {}
    found = []
    for variant in page.manifest.variants:
        measured = known.get(variant.name)
        spread = measured.parity.spread if measured else None
        found.append(
            Variant(
                name=variant.name,
                recipe=f"{variant.recipe}, {variant.precision}",
                size=megabytes(folder_bytes(page.manifest, variant.folder)),
                targets=", ".join(variant.targets),
                verdict=measured.parity.verdict if measured else "unproven",
                reason=measured.parity.reason if measured else "the bundle holds no evidence of it",
                changed=measured.changed if measured else "",
                checks=_checks(measured),
                worst=tuple((f"{one.agreement:.5f}", one.texts) for one in spread.worst) if spread else (),
            )
        )
    return found


def _checks(measured: VariantEvidence | None) -> Table:
    rows = tuple(
        (SIGNS["pass" if check.passed else "fail"], check.name, *_numbers(check))
        for check in (measured.parity.checks if measured else ())
    )
    return Table(("", "check", "measured", "95 % interval", "bound"), rows, (2, 3, 4))


def _numbers(check: Check) -> tuple[str, str, str]:
    one = check.interval
    bound = f"{check.bound:g}"
    if one is None:
        return f"{check.measured:.5f}", "", bound
    return f"{one.estimate:.5f}", f"{one.low:.5f} to {one.high:.5f}", bound


def _spread(page: Page) -> Chart | None:
    series: dict[str, list[float]] = {}
    for label, evidence in (("", page.evidence), (page.old and f"{page.old}: ", page.old_evidence)):
        for name, variant in evidence.variants.items() if evidence else ():
            spread = variant.parity.spread
            if spread:
                whole = max(1, sum(spread.counts))
                series[f"{label}{name}"] = [100 * count / whole for count in spread.counts]
    if not series:
        return None
    labels = [f"≤ {edge:g}" for edge in EDGES]
    title = "Share of the judged inputs by distance from the original's answer (0 is the same answer)"
    return Chart(_drawn(plots.bars("spread", title, labels, series, "% of inputs")), title)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a search found."""

    table: Table
    charts: tuple[Chart, ...]


def _candidates(page: Page) -> Candidates | None:
    found = page.evidence.search if page.evidence else ()
    if not found:
        return None
    rows = tuple(
        (
            SIGNS.get(one.verdict, one.verdict),
            one.recipe,
            f"{one.agreement:.4f}",
            megabytes(one.size_bytes),
            "" if one.latency_ms is None else f"{one.latency_ms:.1f}",
            f"chosen: {one.reason}" if one.reason else "beaten by none" if one.pareto else "",
        )
        for one in found
    )
    table = Table(("", "recipe", "agreement", "size", "ms", ""), rows, (2, 3, 4))
    passed = [one for one in found if one.verdict == "pass"]
    charts = []
    timed = [one for one in passed if one.latency_ms is not None]
    if timed:
        title = "Agreement with the original over time, each candidate that passed; left and up is better"
        points = {_label(one): (one.latency_ms or 0.0, one.agreement) for one in timed}
        charts.append(Chart(_drawn(plots.dots("pareto-time", title, points, "ms", "agreement")), title))
    if passed:
        title = "Agreement with the original over size, each candidate that passed; left and up is better"
        points = {_label(one): (one.size_bytes / 1e6, one.agreement) for one in passed}
        charts.append(Chart(_drawn(plots.dots("pareto-size", title, points, "MB", "agreement")), title))
    return Candidates(table, tuple(charts))


def _label(one: Searched) -> str:
    return f"{one.recipe}{' (chosen)' if one.reason else ''}"


def _places(page: Page) -> Table | None:
    if not page.places:
        return None
    rows = tuple(
        (SIGNS.get(one.outcome, "✗"), one.name, one.kind, one.variant, one.outcome, one.worst, one.reason)
        for one in page.places
    )
    return Table(("", "where", "how", "variant", "outcome", "golden cases", ""), rows, (5,))


@dataclass(frozen=True, slots=True)
class Latency:
    """Times, with the verdict where there is a baseline."""

    table: Table
    charts: tuple[Chart, ...]


def _latency(page: Page) -> Latency | None:
    samples = page.measured.samples
    if not samples:
        return None
    timed = page.measured.latency
    rows, charts = [], []
    for number, (name, sides) in enumerate(samples.items()):
        for side, values in sides.items():
            sample = Sample(tuple(values))
            tail = sample.percentiles_ms()
            ratio = timed.ratios[name] if timed and side == NEW else None
            rows.append(
                (
                    name,
                    _side(page, side),
                    f"{len(values)}",
                    f"{sample.median_ms:.2f}",
                    *(f"{tail[key]:.2f}" if key in tail else "" for key in ("p90_ms", "p95_ms", "p99_ms")),
                    f"{percent(ratio.estimate)} ({percent(ratio.low)} to {percent(ratio.high)})" if ratio else "",
                    ratio.verdict if ratio else "",
                )
            )
        charts.append(_times(page, number, name, sides))
    head = ("inputs", "bundle", "calls", "median ms", "p90", "p95", "p99", "slower by", "verdict")
    return Latency(Table(head, tuple(rows), (2, 3, 4, 5, 6, 7)), tuple(charts))


def _times(page: Page, number: int, name: str, sides: Mapping[str, Sequence[float]]) -> Chart:
    # The slowest calls would squeeze the others into one bin.
    both = sorted(value for values in sides.values() for value in values)
    low, high = both[0], both[min(len(both) - 1, int(0.97 * len(both)))]
    series = {_side(page, side): plots.outline(values, low, high) for side, values in sides.items()}
    title = f"Times of single calls, {name}; the slowest 3 % are not shown"
    return Chart(_drawn(plots.lines(f"times-{number}", title, series, "ms", "share of calls")), title)


def _side(page: Page, side: str) -> str:
    if side == OLD:
        return page.old
    return page.manifest.name if not page.old or page.manifest.name != page.old.split()[0] else "this bundle"


def _memory(page: Page) -> Table:
    measured = page.measured.memory
    sides = tuple(next(iter(measured.values()), {}))
    rows = tuple(
        (
            MEMORY[key],
            *(NOT_MEASURABLE if (value := by_side[side]) is None else megabytes(value) for side in sides),
        )
        for key, by_side in measured.items()
    )
    return Table(("", *(_side(page, side) for side in sides)), rows, tuple(range(1, len(sides) + 1)))


def _energy(page: Page) -> Table | None:
    if page.measured.energy is None:
        return None
    rows = tuple((name, f"{one.joules:.4g} J", f"{one.calls}") for name, one in page.measured.energy.items())
    return Table(("inputs", "energy of a call", "calls"), rows, (1, 2))


def _files(page: Page) -> Table:
    rows = tuple((entry.path, megabytes(entry.size), entry.sha256) for entry in page.manifest.files)
    return Table(("file", "size", "SHA-256"), rows, (1,))


def _drawn(svg: str) -> Any:
    from markupsafe import Markup  # jinja2's own

    return Markup(svg)  # noqa: S704 - labels were escaped when the tree became text
