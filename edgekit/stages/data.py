"""Data: what a model is calibrated and judged on, never the same for both.

The built-in corpus is English prose from CPython's documentation strings, fixed and versioned. A file of
the user's own replaces it: ``.txt`` (a text a line), or ``.csv``, ``.tsv`` and ``.jsonl`` with the columns of the
task, such as ``text`` and ``label``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from edgekit.errors import DataError, RecordError
from edgekit.spec.reader import Table, nearest, parse_json

CORPUS: Final = "en-1"
PARAPHRASES: Final = "paraphrases-1"
CALIBRATION_ROWS: Final = 200  # the corpus's first lines; of other data, a fifth at most
JUDGED_ROWS: Final = 800
LONG_TEXT_SENTENCES: Final = 12  # joined, a few hundred tokens
LONG_TEXTS: Final = 16
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_CELL: Final = 1 << 20
TEXT: Final = "text"

# A folder given as data is a row a file, under the column that its suffix belongs to.
FILE_COLUMNS: Final = {
    ".wav": "audio",
    **dict.fromkeys((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"), "image"),
}

Row = Mapping[str, str]
"""A row of data by column; a path in the column of a file is absolute."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows for a build.

    Attributes:
        name: The corpus's version, or the file's name.
        sha256: Of the file.
        calibration: Only for choosing ranges and spared nodes.
        judged: Only for verdicts; distinct.
        folder: What paths in the rows are relative to; None where they hold none.
        doubt: Why nothing can be proven with it, however many rows it has; empty where it can.
    """

    name: str
    sha256: str
    calibration: tuple[Row, ...]
    judged: tuple[Row, ...]
    folder: Path | None = None
    doubt: str = ""

    def require(self, columns: Sequence[str]) -> None:
        """Refuse data that a task cannot use.

        Raises:
            DataError: A column is missing.
        """
        for row in (*self.calibration, *self.judged):
            for column in columns:
                if column not in row:
                    where = self.folder / self.name if self.folder else self.name
                    raise DataError(
                        f"{where}: no column {column!r}; its columns are {', '.join(row) or 'none'}",
                        hint=nearest(column, tuple(row)) or f"the task needs the columns {', '.join(columns)}",
                    )

    def long(self) -> tuple[Row, ...]:
        """A few long rows, made by joining neighbours: outliers grow with length, so they must be seen.

        None where a row is more than its text, whose meaning joining would change.
        """
        return _long(self.judged)

    def calibration_rows(self) -> tuple[Row, ...]:
        """The rows to calibrate on, long ones included."""
        return self.calibration + _long(self.calibration)


@dataclass(frozen=True, slots=True)
class Triplet:
    """A text, another way to say it, and a text that only looks like it."""

    anchor: str
    paraphrase: str
    distractor: str


def builtin_texts() -> Dataset:
    """The built-in corpus."""
    data = _resource(f"{CORPUS}.txt")
    rows = [{TEXT: line} for line in data.decode().splitlines()]
    return _split(f"builtin-{CORPUS}", data, rows, CALIBRATION_ROWS)


def paraphrases() -> tuple[Triplet, ...]:
    """Triplets that a trained English encoder tells apart and a reference at chance level does not."""
    rows = (line.split("\t") for line in _resource(f"{PARAPHRASES}.tsv").decode().splitlines())
    return tuple(Triplet(*row) for row in rows)


def read_rows(path: Path) -> Dataset:
    """Read a data file of the user's, or a folder of files with a folder for each label.

    Raises:
        DataError: The file is missing, too large, not text, or holds no rows.
    """
    if path.is_dir():
        return _read_folder(path)
    reader = {".txt": _lines, ".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a .txt, .csv, .tsv or .jsonl file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path}: larger than {MAX_BYTES >> 20} MiB", hint="a few thousand rows are plenty: take a sample"
            )
        data = path.read_bytes()
        rows = list(reader(path, data.decode("utf-8-sig")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path given to --data") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
    distinct = list({tuple(row.items()): row for row in rows if any(cell.strip() for cell in row.values())}.values())
    if not distinct:
        raise DataError(f"{path}: holds no text")
    folder = path.resolve().parent
    located = [_located(row, folder) for row in distinct]
    return _split(path.name, data, located, min(CALIBRATION_ROWS, len(located) // 5), folder)


def _read_folder(path: Path) -> Dataset:
    """A row for each file: its path, and the folder it lies in as its label. Calibration takes every fifth."""
    rows: list[Row] = []
    digest = hashlib.sha256()
    try:
        for file in sorted(path.resolve().rglob("*")):
            column = FILE_COLUMNS.get(file.suffix.lower())
            if column is None or not file.is_file():
                continue
            inner = file.relative_to(path.resolve())
            label = {"label": inner.parent.name} if inner.parent.name else {}
            rows.append({column: str(file), **label})
            digest.update(inner.as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path given to --data") from error
    if not rows:
        raise DataError(f"{path}: holds no {' or '.join(FILE_COLUMNS)} file", hint="give a folder for each label")
    # Sorted by label: the first fifth would hold the first labels only.
    calibration = rows[::5][:CALIBRATION_ROWS] if len(rows) >= 5 else []
    judged = [row for row in rows if row not in calibration]
    spread = [judged[place * len(judged) // JUDGED_ROWS] for place in range(JUDGED_ROWS)]
    judged = judged if len(judged) <= JUDGED_ROWS else spread
    return Dataset(path.name, digest.hexdigest(), tuple(calibration), tuple(judged), path.resolve())


def _located(row: Row, folder: Path) -> Row:
    """The row with absolute paths, so that whoever reads the files needs no folder."""
    columns = set(FILE_COLUMNS.values())
    return {column: str(folder / cell) if column in columns else cell for column, cell in row.items()}


def read_apart(calibration: Path, judged: Path) -> Dataset:
    """Read data whose two parts are files of their own, as the reference models have them.

    Raises:
        DataError: As of :func:`read_rows`.
    """
    ranges, judging = read_rows(calibration), read_rows(judged)
    return Dataset(
        name=f"{judged.parent.name}/{judged.name}",
        sha256=hashlib.sha256(f"{ranges.sha256} {judging.sha256}".encode()).hexdigest(),
        calibration=(ranges.calibration + ranges.judged)[:CALIBRATION_ROWS],
        judged=(judging.calibration + judging.judged)[:JUDGED_ROWS],
        folder=judging.folder,
    )


def _long(rows: Sequence[Row]) -> tuple[Row, ...]:
    if any(set(row) != {TEXT} for row in rows):
        return ()
    starts = range(0, len(rows), LONG_TEXT_SENTENCES)
    joined = (" ".join(row[TEXT] for row in rows[start : start + LONG_TEXT_SENTENCES]) for start in starts)
    return tuple({TEXT: text} for text in joined)[:LONG_TEXTS]


def _split(name: str, data: bytes, rows: Sequence[Row], calibration: int, folder: Path | None = None) -> Dataset:
    judged = rows[calibration : calibration + JUDGED_ROWS]
    return Dataset(name, hashlib.sha256(data).hexdigest(), tuple(rows[:calibration]), tuple(judged), folder)


def _lines(path: Path, content: str) -> Iterator[Row]:  # noqa: ARG001 - one signature for all readers
    yield from ({TEXT: line.strip()} for line in content.splitlines())


def _csv(path: Path, content: str) -> Iterator[Row]:
    yield from _table(path, content, ",")


def _tsv(path: Path, content: str) -> Iterator[Row]:
    yield from _table(path, content, "\t")


def _table(path: Path, content: str, delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        names = reader.fieldnames or ()
        twice = [name for name in names if list(names).count(name) > 1]
        if twice:
            raise DataError(f"{path}: two columns are called {twice[0]!r}")
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}: line {reader.line_num} has too {'many' if None in row else 'few'} columns")
            yield {column: cell.strip() for column, cell in row.items()}
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error


def _jsonl(path: Path, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                table = parse_json(line.encode("utf-8", "surrogatepass"), f"{path}: line {number}")
                yield {column: _cell(table, column) for column in table.names()}
            except RecordError as error:
                raise DataError(
                    error.message, hint=error.hint or f"each line is an object like {json.dumps({TEXT: '…'})}"
                ) from error


def _cell(table: Table, column: str) -> str:
    # A list, such as a label for each word, stays JSON inside its cell, as a .csv would hold it.
    value = table.raw(column)
    if isinstance(value, str):
        return table.string(column, max_length=MAX_CELL).strip()
    return json.dumps(value, ensure_ascii=False)


def _resource(name: str) -> bytes:
    return (resources.files("edgekit.stages") / "corpus" / name).read_bytes()
