"""``python -m website``: write the site's pages, those of docs/ and those that are made, into build/pages.

The site's builder runs no code of ours, so what it reads is complete before it starts.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from website import charts, command_line, links

PAGES = links.ROOT / "build" / "pages"
DECISIONS = "decisions"


def write(folder: Path) -> None:
    """Write every page and file of the site.

    Args:
        folder: Where to; replaced if it is there.

    Raises:
        DeadLinkError: A page links to a file of the repository that does not exist.
        UnknownChartError: A page asks for a chart that nobody draws.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(links.DOCS, folder)
    for path in sorted(folder.rglob("*.md")):
        source = path.relative_to(folder).as_posix()
        text = links.outward(path.read_text(encoding="utf-8"), source)
        path.write_text(charts.drawn(text, source), encoding="utf-8")
    for name, uri in links.PAGES.items():
        text = (links.ROOT / name).read_text(encoding="utf-8")
        (folder / uri).write_text(links.as_page_of_docs(text), encoding="utf-8")
    (folder / DECISIONS / "index.md").write_text(_decisions(folder / DECISIONS), encoding="utf-8")
    (folder / "reference" / "cli.md").write_text(command_line.page(), encoding="utf-8")


def _decisions(folder: Path) -> str:
    pages = sorted(path for path in folder.glob("*.md") if path.name != "index.md")
    titles = [(path.name, path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")) for path in pages]
    listed = "\n".join(f"- [{title}]({name})" for name, title in titles)
    return f"# Decisions\n\nOne short page for each that someone may want to undo.\n\n{listed}\n"


if __name__ == "__main__":
    try:
        write(PAGES)
    except (charts.UnknownChartError, links.DeadLinkError, LookupError) as error:
        sys.exit(f"error: {error}")
