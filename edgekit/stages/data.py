"""Data: the texts a model is calibrated and judged on, never the same ones for both.

The built-in corpus is English prose from CPython's documentation strings, fixed and versioned. A file of
the user's own replaces it: ``.txt`` (a text a line), ``.csv``, ``.tsv`` or ``.jsonl`` with a column or key ``text``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from edgekit.errors import DataError, RecordError
from edgekit.spec.reader import nearest, parse_json

CORPUS: Final = "en-1"
PARAPHRASES: Final = "paraphrases-1"
CALIBRATION_TEXTS: Final = 200  # the corpus's first lines; of other data, a fifth at most
JUDGED_TEXTS: Final = 800
LONG_TEXT_SENTENCES: Final = 12  # joined, a few hundred tokens
LONG_TEXTS: Final = 16
MAX_BYTES: Final = 256 * 1024 * 1024
COLUMN: Final = "text"


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts for a build.

    Attributes:
        name: The corpus's version, or the file's name.
        sha256: Of the file.
        calibration: Only for choosing ranges and spared nodes.
        judged: Only for verdicts; distinct.
    """

    name: str
    sha256: str
    calibration: tuple[str, ...]
    judged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Triplet:
    """A text, another way to say it, and a text that only looks like it."""

    anchor: str
    paraphrase: str
    distractor: str


def builtin_texts() -> Texts:
    """The built-in corpus."""
    data = _resource(f"{CORPUS}.txt")
    return _split(f"builtin-{CORPUS}", data, data.decode().splitlines(), CALIBRATION_TEXTS)


def paraphrases() -> tuple[Triplet, ...]:
    """Triplets that a trained English encoder tells apart and a reference at chance level does not."""
    rows = (line.split("\t") for line in _resource(f"{PARAPHRASES}.tsv").decode().splitlines())
    return tuple(Triplet(*row) for row in rows)


def read_texts(path: Path) -> Texts:
    """Read a data file of the user's.

    Raises:
        DataError: The file is missing, too large, not text, or has no column ``text``.
    """
    reader = {".txt": _lines, ".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a .txt, .csv, .tsv or .jsonl file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path}: larger than {MAX_BYTES >> 20} MiB", hint="a few thousand texts are plenty: take a sample"
            )
        data = path.read_bytes()
        texts = [text.strip() for text in reader(path, data.decode("utf-8-sig"))]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path given to --data") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
    distinct = list(dict.fromkeys(text for text in texts if text))
    if not distinct:
        raise DataError(f"{path}: holds no text")
    return _split(path.name, data, distinct, min(CALIBRATION_TEXTS, len(distinct) // 5))


def long_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """A few long texts, made by joining neighbours: outliers grow with length, so they must be seen."""
    starts = range(0, len(texts), LONG_TEXT_SENTENCES)
    return tuple(" ".join(texts[start : start + LONG_TEXT_SENTENCES]) for start in starts)[:LONG_TEXTS]


def _split(name: str, data: bytes, texts: Sequence[str], calibration: int) -> Texts:
    judged = texts[calibration : calibration + JUDGED_TEXTS]
    return Texts(name, hashlib.sha256(data).hexdigest(), tuple(texts[:calibration]), tuple(judged))


def _lines(path: Path, content: str) -> Iterator[str]:  # noqa: ARG001 - one signature for all readers
    yield from content.splitlines()


def _csv(path: Path, content: str) -> Iterator[str]:
    yield from _table(path, content, ",")


def _tsv(path: Path, content: str) -> Iterator[str]:
    yield from _table(path, content, "\t")


def _table(path: Path, content: str, delimiter: str) -> Iterator[str]:
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = tuple(reader.fieldnames or ())
        if COLUMN not in columns:
            raise DataError(
                f"{path}: no column {COLUMN!r}; its columns are {', '.join(columns) or 'none'}",
                hint=nearest(COLUMN, columns) or f"name the column of texts {COLUMN!r} in the first line",
            )
        for row in reader:
            if row[COLUMN] is None:
                raise DataError(f"{path}: line {reader.line_num} has too few columns")
            yield row[COLUMN]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error


def _jsonl(path: Path, content: str) -> Iterator[str]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                yield parse_json(line.encode("utf-8", "surrogatepass"), f"{path}: line {number}").string(
                    COLUMN, max_length=1 << 20
                )
            except RecordError as error:
                raise DataError(
                    error.message, hint=error.hint or f"each line is an object like {json.dumps({COLUMN: '…'})}"
                ) from error


def _resource(name: str) -> bytes:
    return (resources.files("edgekit.stages") / "corpus" / name).read_bytes()
