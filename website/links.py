"""Links between pages that are read in two places: on the site, and in the repository's own view of its files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
REPOSITORY: Final = "https://github.com/edgekit/edgekit/blob/main/"
PAGES: Final = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

_MARKDOWN: Final = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_HTML: Final = re.compile(r'(?<=(?:src|ref)=")([^"]+)(?=")')


class DeadLinkError(ValueError):
    """A page links to a file that does not exist."""


def outward(markdown: str, source: str) -> str:
    """Links of a page in docs/ as the site has them: what lies outside docs/ is in the repository, or is a made page.

    Args:
        markdown: The page's text.
        source: Its path in docs/.

    Raises:
        DeadLinkError: A link leads to no file.
    """
    folder = posixpath.dirname(source)

    def target(path: str) -> str:
        inside = posixpath.normpath(posixpath.join("docs", folder, path))
        if inside.startswith("docs/") or inside in PAGES:
            return posixpath.relpath(_site(inside), folder or ".")
        return _repository(inside, source)

    return _replaced(markdown, target)


def as_page_of_docs(markdown: str) -> str:
    """Links of a file at the repository's root as a page at the site's root has them.

    Raises:
        DeadLinkError: A link leads to no file.
    """

    def target(path: str) -> str:
        inside = posixpath.normpath(path)
        return _site(inside) if inside.startswith("docs/") or inside in PAGES else _repository(inside, "the root")

    return _replaced(markdown, target)


def _replaced(markdown: str, target: Callable[[str], str]) -> str:
    def link(found: re.Match[str]) -> str:
        path, mark, anchor = found[0].partition("#")
        return found[0] if not path or ":" in path else target(path) + mark + anchor

    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if place % 2 else _HTML.sub(link, _MARKDOWN.sub(link, part)) for place, part in enumerate(parts)
    )


def _site(inside: str) -> str:
    return "decisions/index.md" if inside == "docs/decisions" else PAGES.get(inside) or inside.removeprefix("docs/")


def _repository(inside: str, source: str) -> str:
    if not (ROOT / inside).exists():
        raise DeadLinkError(f"{source}: links to {inside}, which does not exist")
    return REPOSITORY + inside
