"""Golden cases: texts with the vectors expected on the device, replayed by the self-test."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError, RecordError
from edgekit.spec.reader import Table, parse_json

SCHEMA_VERSION: Final = "1.0"
TASK: Final = "feature-extraction"
MAX_CASES: Final = 4096
MAX_TEXT: Final = 65536

_NAME: Final = "golden cases"


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """One case.

    Attributes:
        text: What is embedded.
        embedding: The vector expected, (dimension,) float32.
    """

    text: str
    embedding: npt.NDArray[np.float32]


def read_golden(data: bytes, dimension: int) -> tuple[Golden, ...]:
    """Parse a file of golden cases.

    Args:
        data: The file's bytes.
        dimension: Length that every vector must have.

    Returns:
        At least one case.

    Raises:
        IntegrityError: The file breaks the format, or a vector is of another length, not finite, or zero.
    """
    try:
        table = parse_json(data, _NAME)
        table.string("schema_version", choices=(SCHEMA_VERSION,))
        table.string("task", choices=(TASK,))
        cases = tuple(_read_case(item, dimension) for item in table.tables("cases", max_items=MAX_CASES))
        table.done()
    except RecordError as error:
        raise IntegrityError(error.message, hint=error.hint or "the bundle is damaged; get it again") from error
    if not cases:
        raise IntegrityError(f"{_NAME}: cases: expected at least one")
    return cases


def write_golden(cases: Iterable[tuple[str, npt.NDArray[np.float32]]]) -> bytes:
    """The canonical bytes of a file of golden cases.

    Args:
        cases: Texts with their vectors, (dimension,) float32.

    Raises:
        InputError: A text is no Unicode text, or a vector is not finite, zero, or not one-dimensional.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "task": TASK,
        "cases": [
            {"text": text, "embedding": _encode(index, embedding)} for index, (text, embedding) in enumerate(cases)
        ],
    }
    try:
        return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{_NAME}: a text holds a lone surrogate") from error


def _encode(index: int, embedding: npt.NDArray[np.float32]) -> str:
    vector = np.ascontiguousarray(embedding, dtype="<f4")
    if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
        raise InputError(f"{_NAME}: the vector of case {index} is not a finite vector other than zero")
    return base64.b64encode(vector.tobytes()).decode("ascii")


def _read_case(table: Table, dimension: int) -> Golden:
    text = table.string("text", max_length=MAX_TEXT)
    encoded = table.string("embedding", max_length=8 + (dimension * 4 + 2) // 3 * 4)
    table.done()
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise table.error("embedding", f"not base64: {error}") from error
    if len(raw) != dimension * 4:
        raise table.error("embedding", f"{len(raw)} bytes, expected {dimension} float32 values")
    vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise table.error("embedding", "expected finite values, not all zero")
    return Golden(text, vector)
