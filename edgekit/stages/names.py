"""Sentences with names in them, to judge models that find names where the user gives no data.

Made from a few patterns and lists of names, all written for this: enough for names to vary, far from the variety of
real text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from edgekit.stages.data import Dataset, Row

NAME: Final = "builtin-names-1"
KIND: Final = "kind"  # marks rows whose labels are kinds of names, not labels of a model
CALIBRATION: Final = 100
JUDGED: Final = 300

_PEOPLE: Final = (
    "Maria Lopez", "John Smith", "Aisha Khan", "Peter Novak", "Chen Wei", "Emma Larsen", "David Cohen", "Fatima Ali",
    "Anna", "Thomas Müller", "Yuki Tanaka", "Carlos Silva", "Sophie Martin", "Ivan Petrov", "Grace Okafor", "Daniel",
    "Priya Sharma", "Lucas Rossi", "Helen Walker",
)  # fmt: skip
_PLACES: Final = (
    "Paris", "New York", "Tokyo", "Berlin", "South Africa", "Brazil", "Canada", "Lagos", "Mexico City", "Norway",
    "Sydney", "India", "Cairo", "San Francisco", "Poland", "Seoul", "Argentina",
)  # fmt: skip
_GROUPS: Final = (
    "Microsoft", "the United Nations", "Toyota", "Harvard University", "Siemens", "the World Bank", "Samsung",
    "Reuters", "Oxford University", "the Red Cross", "Volkswagen", "Google", "Deutsche Bank",
)  # fmt: skip
_PATTERNS: Final = (
    "{per} moved from {loc} to {loc} last year .",
    "{per} works for {org} in {loc} .",
    "Yesterday , {org} opened a new office in {loc} .",
    "The president of {org} , {per} , refused to comment .",
    "{per} and {per} met in {loc} to discuss the contract .",
    "It was cold in {loc} when {per} arrived .",
    "According to {org} , sales in {loc} fell by ten percent .",
    "{org} bought a factory near {loc} from {org} .",
    "The train to {loc} was late again this morning .",
    "{per} wrote the report that {org} published in March .",
    "Nobody in the room had ever been to {loc} .",
)  # fmt: skip
_LISTS: Final = {"{per}": ("PER", _PEOPLE), "{loc}": ("LOC", _PLACES), "{org}": ("ORG", _GROUPS)}


def sentences() -> Dataset:
    """Rows of ``text`` and ``labels``: for each word ``O``, or ``B-`` or ``I-`` with PER, LOC or ORG."""
    rows = [_sentence(number) for number in range(CALIBRATION + JUDGED)]
    content = json.dumps(rows, ensure_ascii=False).encode()
    return Dataset(NAME, hashlib.sha256(content).hexdigest(), tuple(rows[:CALIBRATION]), tuple(rows[CALIBRATION:]))


def as_labels(kinds: Sequence[str], labels: Sequence[str]) -> list[str] | None:
    """The labels of a model for kinds of names; None where it does not have these kinds.

    Names for a kind differ between models (``B-PER``, ``I-PER``, ``PER``, ``PERSON``).
    """
    made = []
    for kind in kinds:
        prefix, _, name = kind.rpartition("-")
        wanted = [kind, *(f"{mark}{word}" for word in (name, *_OTHER_NAMES.get(name, ())) for mark in _marks(prefix))]
        found = next((label for label in wanted if label in labels), None)
        if found is None:
            return None
        made.append(found)
    return made


_OTHER_NAMES: Final = {"PER": ("PERSON", "per"), "LOC": ("GPE", "LOCATION", "loc"), "ORG": ("ORGANIZATION", "org")}


def _marks(prefix: str) -> tuple[str, ...]:
    return (f"{prefix}-", "I-", "")


def _sentence(number: int) -> Row:
    words: list[str] = []
    kinds: list[str] = []
    turn = number // len(_PATTERNS)
    for place, word in enumerate(_PATTERNS[number % len(_PATTERNS)].split()):
        if word not in _LISTS:
            words.append(word)
            kinds.append("O")
            continue
        kind, names = _LISTS[word]
        for index, part in enumerate(names[(turn * 5 + number + place * 7) % len(names)].split()):
            article = part == "the"
            words.append(part)
            kinds.append("O" if article else f"{'B' if not kinds or kinds[-1] == 'O' or index == 0 else 'I'}-{kind}")
    return {"text": " ".join(words), "labels": json.dumps(kinds), KIND: "names"}
