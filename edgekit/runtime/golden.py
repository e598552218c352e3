"""Golden cases: inputs with the raw answers expected on the device, replayed by the self-test."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError, RecordError
from edgekit.runtime.answers import KINDS, Input, Raw
from edgekit.spec.reader import Table, parse_json

SCHEMA_VERSION: Final = "2.0"
EARLIER: Final = "1.0"  # a text and its embedding
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_CASES: Final = 4096
MAX_TEXT: Final = 65536
MAX_VALUES: Final = 1 << 24

_NAME: Final = "golden cases"
_DTYPES: Final = ("float32", "uint8", "int64")


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """One case.

    Attributes:
        input: What the model is asked.
        expected: The reference's raw answer.
    """

    input: Input
    expected: Raw


def read_golden(data: bytes) -> tuple[Golden, ...]:
    """Parse a file of golden cases.

    Returns:
        At least one case.

    Raises:
        IntegrityError: The file breaks the format, or an expected array is empty or not finite.
    """
    try:
        table = parse_json(data, _NAME, max_bytes=MAX_BYTES)
        version = table.string("schema_version", choices=(SCHEMA_VERSION, EARLIER))
        table.string("task")
        read = _read_case if version == SCHEMA_VERSION else _read_earlier
        cases = tuple(read(item) for item in table.tables("cases", max_items=MAX_CASES))
        table.done()
    except RecordError as error:
        raise IntegrityError(error.message, hint=error.hint or "the bundle is damaged; get it again") from error
    if not cases:
        raise IntegrityError(f"{_NAME}: cases: expected at least one")
    return cases


def write_golden(task: str, cases: Iterable[Golden]) -> bytes:
    """The canonical bytes of a file of golden cases.

    Raises:
        InputError: A text is no Unicode text, or an expected array is empty or not finite.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "task": task,
        "cases": [
            {
                "input": {name: _to_json(value) for name, value in case.input.items()},
                "expected": {name: _expected(index, name, array) for name, array in case.expected.items()},
            }
            for index, case in enumerate(cases)
        ],
    }
    try:
        return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{_NAME}: a text holds a lone surrogate") from error


def _expected(index: int, name: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    if not array.size or not np.isfinite(array).all():
        raise InputError(f"{_NAME}: {name} of case {index} is empty or not finite")
    return _array_json(array.astype(np.float32))


def _to_json(value: Any) -> Any:
    return _array_json(value) if isinstance(value, np.ndarray) else value


def _array_json(array: npt.NDArray[Any]) -> dict[str, Any]:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def _read_case(table: Table) -> Golden:
    asked, expected = table.table("input"), table.table("expected")
    table.done()
    case = Golden(
        input={name: _read_value(asked, name) for name in asked.names()},
        expected={name: _read_array(expected.table(name)) for name in expected.names()},
    )
    for name, array in case.expected.items():
        if name.partition(".")[0] not in KINDS:
            raise expected.error(name, f"names no kind of answer: {', '.join(KINDS)}")
        if array.dtype != np.float32 or not array.size or not np.isfinite(array).all():
            raise expected.error(name, "expected finite float32 values, at least one")
    if not case.input or not case.expected:
        raise table.error("expected", "a case has an input and an answer")
    return case


def _read_value(table: Table, name: str) -> Any:
    value = table.raw(name)
    if isinstance(value, str):
        return table.string(name, max_length=MAX_TEXT)
    if isinstance(value, list):
        return list(table.strings(name))
    if isinstance(value, Mapping):
        return _read_array(table.table(name))
    return value if isinstance(value, bool) else table.number(name)


def _read_array(table: Table) -> npt.NDArray[Any]:
    dtype = np.dtype(table.string("dtype", choices=_DTYPES))
    shape = table.shape("shape")
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != len(shape) or math.prod(sizes) > MAX_VALUES:
        raise table.error("shape", f"expected sizes, {MAX_VALUES} values at most")
    count = math.prod(sizes) * dtype.itemsize
    raw = _decode(table, "base64", max_length=8 + (count + 2) // 3 * 4)
    table.done()
    if len(raw) != count:
        raise table.error("base64", f"{len(raw)} bytes, expected {count}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(sizes)


def _read_earlier(table: Table) -> Golden:
    text = table.string("text", max_length=MAX_TEXT)
    raw = _decode(table, "embedding", max_length=MAX_VALUES)
    table.done()
    if not raw or len(raw) % 4:
        raise table.error("embedding", f"{len(raw)} bytes, expected float32 values")
    vector = np.frombuffer(raw, "<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise table.error("embedding", "expected finite values")
    return Golden({"text": text}, {"embedding": vector})


def _decode(table: Table, key: str, *, max_length: int) -> bytes:
    encoded = table.string(key, max_length=max_length)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise table.error(key, f"not base64: {error}") from error
