"""Documentation of many objects as text, for the models that write text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from training.sources import Documented, documented, package_folder, standard_library

PACKAGES: Final = (
    "networkx",
    "numpy",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
)  # torch and sentence-transformers bring them
SHORTEST_SUMMARY, LONGEST_SUMMARY = 15, 80  # characters
LONGEST_BODY: Final = 300


@dataclass(frozen=True, slots=True)
class Page:
    """What a page of documentation says of one object.

    Attributes:
        text: The object's name in words, then its description if there is one, on one line.
        summary: The docstring's first paragraph, which the text does not hold.
        module: Dotted name of the module.
    """

    text: str
    summary: str
    module: str


def everything() -> Iterator[Documented]:
    """The documented objects of the standard library and of the packages, one place after the other."""
    yield from documented(standard_library())
    for package in PACKAGES:
        yield from documented(package_folder(package), package)


def pages(objects: Iterable[Documented]) -> list[Page]:
    """Objects with a one-sentence summary; of equal summaries, or of equal descriptions, only the first."""
    seen: set[str] = {""}
    found: list[Page] = []
    for thing in objects:
        first, _, rest = thing.docstring.partition("\n\n")
        summary, body = " ".join(first.split()), " ".join(rest.split())
        new = summary.lower() not in seen and (not body or body.lower() not in seen)
        if new and SHORTEST_SUMMARY <= len(summary) <= LONGEST_SUMMARY and summary.endswith("."):
            seen.update((summary.lower(), body.lower()))
            text = f"{in_words(thing.name or thing.module)}: {shortened(body, LONGEST_BODY)}".strip()
            found.append(Page(text, summary, thing.module))
    return found


def in_words(name: str) -> str:
    """The last part of a dotted name as lower-case words: ``a.MovingAverage`` and ``a.moving_average`` alike.

    ``Box.__init__`` is "box init": such names say nothing without their class.
    """
    outer, _, last = name.rpartition(".")
    told = f"{outer.rpartition('.')[2]} {last}" if last.startswith("__") else last
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", told)).lower() or last


def shortened(text: str, longest: int) -> str:
    """The text's first words, at most that many characters of them."""
    return text if len(text) <= longest else text[: longest + 1].rpartition(" ")[0]
