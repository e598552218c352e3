"""Charts as SVG that takes its colours from the page: text stays text, and the dark page has dark charts.

Drawn by pygal (https://www.pygal.org), the lightest library that writes such SVG; what it adds for a script of its own
is taken out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from edgekit.errors import UsageError

INSTALL: Final = "pip install 'edgekit[report]'"
SERIES: Final = 8  # the page has as many colours
WIDTH, HEIGHT = 560, 300  # of what text sizes refer to; a phone shows it at two thirds
LEGEND_LINE: Final = 22
BINS: Final = 24
_SVG: Final = "http://www.w3.org/2000/svg"

Points = Sequence[tuple[float, float]]


def available() -> None:
    """Refuse early what cannot be drawn.

    Raises:
        UsageError: The libraries of the extra are not installed.
    """
    try:
        import jinja2  # noqa: F401

        _pygal()
    except ImportError as error:
        raise UsageError(f"a report needs {error.name}, which is not installed", hint=INSTALL) from error


def bars(name: str, title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], y_title: str) -> str:
    """Groups of bars.

    Args:
        name: Of the chart in the page, unique there.
        title: Said to those who cannot see it.
        labels: Of the groups.
        series: A bar of each group, by name.
        y_title: What the height is.
    """
    chart = _pygal().Bar(**_look(len(series), y_title=y_title), x_label_rotation=-35)
    chart.x_labels = list(labels)
    for label, values in series.items():
        chart.add(label, list(values))
    return _svg(chart, name, title)


def dots(name: str, title: str, points: Mapping[str, tuple[float, float]], x_title: str, y_title: str) -> str:
    """One dot for each name."""
    chart = _pygal().XY(**_look(len(points), x_title=x_title, y_title=y_title), stroke=False, dots_size=6)
    for label, point in points.items():
        chart.add(label, [point])
    return _svg(chart, name, title)


def lines(name: str, title: str, series: Mapping[str, Points], x_title: str, y_title: str) -> str:
    """A line through the points of each name, the area under it shaded."""
    chart = _pygal().XY(**_look(len(series), x_title=x_title, y_title=y_title), fill=True, show_dots=False)
    for label, points in series.items():
        chart.add(label, list(points))
    return _svg(chart, name, title)


def outline(values: Sequence[float], low: float, high: float) -> Points:
    """The outline of a histogram: shares of the values in each of :data:`BINS` bins; what lies beyond is left out."""
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for value in values:
        if low <= value <= high:
            counts[min(int((value - low) / width), BINS - 1)] += 1
    shares = [count / max(1, len(values)) for count in counts]
    corners = [(low, 0.0)]
    for place, share in enumerate(shares):
        corners += [(low + place * width, share), (low + (place + 1) * width, share)]
    return [*corners, (high, 0.0)]


def _pygal() -> Any:
    """The library, without the import hook for plug-ins that it leaves behind: every later import would warn of it."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]
    return pygal


def _look(series: int, **titles: str) -> dict[str, Any]:
    from pygal.style import Style

    colors = tuple(f"var(--c{number})" for number in range(1, SERIES + 1))
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--ink)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--quiet)",
        colors=colors,
        value_colors=("var(--ink)",) * SERIES,
        ci_colors=("var(--ink)",) * SERIES,
        font_family="inherit",
        label_font_size=14,
        major_label_font_size=14,
        legend_font_size=15,
        title_font_size=14,
        opacity=".35",
    )
    return {
        "style": style,
        "js": [],
        "width": WIDTH,
        "height": HEIGHT + LEGEND_LINE * series,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 1,
        "truncate_legend": -1,
        "show_x_guides": False,
        **titles,
    }


def _svg(chart: Any, name: str, title: str) -> str:
    chart.uuid = name
    root = chart.render_tree()
    for parent in list(root.iter()):
        parent.attrib.pop("id", None)  # the same in every chart of the page
        for child in list(parent):
            # A script for tooltips, and comments, one of which holds today's date.
            if not isinstance(child.tag, str) or child.tag.rpartition("}")[2] == "script":
                parent.remove(child)
    root.set("id", f"chart-{name}")  # its styles begin with it
    root.set("role", "img")
    root.set("aria-label", title)
    ET.register_namespace("", _SVG)
    return str(ET.tostring(root, encoding="unicode"))
