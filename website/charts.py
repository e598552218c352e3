"""Charts of committed results, drawn while the site is built: ``<!-- chart: NAME -->`` in a page is where one goes.

Each is SVG by pygal in the page's own colours, with a caption that says machine and day, and a table of its numbers.
"""

from __future__ import annotations

import html
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgekit.report import plots
from website import results
from website.results import SPINNING, Result

PLACE: Final = re.compile(r"^<!-- chart: ([a-z0-9-]+) -->$", re.MULTILINE)


class UnknownChartError(ValueError):
    """A page asks for a chart that nobody draws."""


def drawn(markdown: str, source: str) -> str:
    """A page with its charts.

    Args:
        markdown: Its text.
        source: Its path, for the error.

    Raises:
        UnknownChartError: It asks for one that does not exist.
        LookupError: No committed result has what a chart shows.
    """

    def draw(found: re.Match[str]) -> str:
        if found[1] not in CHARTS:
            raise UnknownChartError(f"{source}: no chart is called {found[1]!r}; there are {', '.join(sorted(CHARTS))}")
        return CHARTS[found[1]](found[1])

    return PLACE.sub(draw, markdown)


def _latency(name: str, *, vnni: bool) -> str:
    found = results.comparison(vnni=vnni)
    shapes = sorted(next(iter(found.ms.values())), key=lambda shape: [int(size) for size in shape.split("x")])
    series = {
        f"{ours} / {peer}": [
            statistics.median(mine / other for mine, other in zip(found.ms[ours][shape], times[shape], strict=True))
            for shape in shapes
        ]
        for peer, times in found.ms.items()
        if (ours := found.ours.get(peer, "")) in found.ms and ours != peer
    }
    shown = dict(list(series.items())[: plots.SERIES])
    title = "edgekit's time over each peer's; below 1 edgekit is faster"
    said = f"{title}. MiniLM at batch x tokens, the median of the ratios of fresh processes that took turns."
    return _figure(name, plots.bars(name, title, shapes, shown, "ratio of times"), said, found.result,
                   _table(["", *shapes], series, ".2f"))  # fmt: skip


def _agreement(name: str) -> str:
    found = results.comparison(vnni=True)
    rows = {peer: list(values) for peer, values in found.quality.items() if not peer.endswith(SPINNING)}
    title = "How often a sentence's nearest neighbour is the original's"
    svg = plots.bars(name, title, ["agreement"], {peer: [values[1]] for peer, values in rows.items()}, "share")
    return _figure(name, svg, f"{title}, int8 files of MiniLM.", found.result,
                   _table(["", "mean cosine", "agreement"], rows, ".4f"))  # fmt: skip


def _cold_start(name: str) -> str:
    result = results.newest("tasks", results.FOLDER, feature="avx2", lacking=results.VNNI)
    bundles = result.values["tasks"]["bundles"]
    rows = {
        _shorter(bundle): [row["bare_sessions_s"], row["first_answer_s"], row["peak_mb"]]
        for bundle, row in bundles.items()
        if "bare_sessions_s" in row
    }
    title = "New process to first answer, seconds"
    series = {"bare sessions of the same files": [row[0] for row in rows.values()],
              "edgekit, verified": [row[1] for row in rows.values()]}  # fmt: skip
    said = f"{title}, of tiny random models: what is left is the runtime's own."
    return _figure(name, plots.bars(name, title, list(rows), series, "s"), said, result,
                   _table(["", "bare sessions, s", "edgekit, s", "peak, MB"], rows, ".3g"))  # fmt: skip


def _shorter(bundle: str) -> str:
    """A bundle's name for an axis that holds fifteen of them."""
    long = {
        "random-": "",
        "automatic-speech-recognition": "speech",
        "classification": "classes",
        "extraction": "vectors",
    }
    for word, short in long.items():
        bundle = bundle.replace(word, short)
    return bundle


def _install(name: str, part: str, brings: str) -> str:
    result = results.newest(part, results.FOLDER)
    packages = result.values[part]["packages"]
    sizes = sorted(((row["mb"], package) for package, row in packages.items()), reverse=True)
    shown = {package: [mb] for mb, package in sizes[: plots.SERIES - 1]}
    shown["all others"] = [round(sum(mb for mb, _ in sizes[plots.SERIES - 1 :]), 1)]
    title = f"What `pip install {brings}: {result.values[part]['total_mb']:.0f} MB, no torch"
    return _figure(name, plots.bars(name, title, ["MB"], shown, "MB"), f"{title}.", result,
                   _table(["", "MB"], shown, ".1f"))  # fmt: skip


def _architectures(name: str) -> str:
    result = results.newest("versions", results.FOLDER)
    counts: dict[str, Counter[str]] = {}
    for row in result.values["results"]:
        counts.setdefault(row["modality"], Counter())[row["result"]] += 1
    words = [word for word in ("right", "unproven", "wrong", "cannot") if any(count[word] for count in counts.values())]
    series = {word: [float(count[word]) for count in counts.values()] for word in words}
    title = "Architectures and tasks that export, by kind"
    versions = ", ".join(f"{package} {version}" for package, version in result.values["versions"].items())
    rows = {kind: [float(count[word]) for word in words] for kind, count in counts.items()}
    return _framed(name, plots.bars(name, title, list(counts), series, "pairs"),
                   f"{title}; {versions}, {result.name}.", _table(["", *words], rows, ".0f"))  # fmt: skip


def _figure(name: str, svg: str, said: str, result: Result, table: str) -> str:
    return _framed(name, svg, f"{said} {result.where}, {result.name}.", table)


def _framed(name: str, svg: str, said: str, table: str) -> str:
    # One line, so that Markdown takes it as it is.
    drawing = f'<figure class="chart" id="{name}">{svg}<figcaption>{html.escape(said)}</figcaption></figure>'
    return f'{" ".join(drawing.splitlines())}\n\n??? note "The numbers"\n\n{table}'


def _table(head: Sequence[str], rows: Mapping[str, Sequence[float]], form: str) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [f"| {label} | {' | '.join(format(value, form) for value in values)} |" for label, values in rows.items()]
    return "\n".join(f"    {line}" for line in lines)


CHARTS: Final[Mapping[str, Callable[[str], str]]] = {
    "agreement": _agreement,
    "architectures": _architectures,
    "cold-start": _cold_start,
    "demo-install": lambda name: _install(name, "demo-install", "--no-compile 'edgekit[ui]'` brings"),
    "install": lambda name: _install(name, "install", "edgekit` brings"),
    "latency-without-vnni": lambda name: _latency(name, vnni=False),
    "latency-with-vnni": lambda name: _latency(name, vnni=True),
}
