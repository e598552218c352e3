"""Protobuf's wire format, read strictly: https://protobuf.dev/programming-guides/encoding/.

Where a reader could understand bytes in two ways (a known field with another wire type, groups, over-long tags), they
are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from edgekit.errors import IntegrityError

VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Span: TypeAlias = tuple[int, int]
"""Where bytes start and end."""

Field: TypeAlias = tuple[int, int, int, int]
"""Number, wire type, then value and 0, or where the bytes start and end."""


def fields_of(data: bytes, span: Span) -> Iterator[Field]:
    """The fields of a message, in the order written.

    Raises:
        IntegrityError: The bytes are no protobuf message.
    """
    position, end = span
    while position < end:
        start = position
        tag, position = varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        if position - start > 5 or not 0 < number < 1 << 29:
            raise broken(f"a malformed tag at byte {start}")
        value, stop = 0, 0
        if wire == _BYTES:
            length, value = varint(data, position, end)
            position = stop = value + length
        elif wire == VARINT:
            value, position = varint(data, position, end)
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4  # no such field is read here
        else:
            raise broken(f"wire type {wire} at byte {start}, which ONNX does not use")
        if position > end:
            raise broken(f"the field at byte {start} ends behind its message")
        yield number, wire, value, stop


def varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """An unsigned number, and where it ends."""
    if position < end and data[position] < 0x80:
        return data[position], position + 1
    result = 0
    for index in range(10):
        if position >= end:
            raise broken("a number ends behind its message")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if result >> 64:
                raise broken("a number has more than 64 bits")
            return result, position
    raise broken("a number is longer than ten bytes")


def number_of(field: Field) -> int:
    """The value of a field that must be a number."""
    number, wire, value, _ = field
    if wire != VARINT:
        raise broken(f"field {number} has wire type {wire}, expected a number")
    return signed(value)


def span_of(field: Field) -> Span:
    """Where the bytes lie of a field that must be a message or text."""
    number, wire, start, stop = field
    if wire != _BYTES:
        raise broken(f"field {number} has wire type {wire}, expected a message or text")
    return start, stop


def signed(value: int) -> int:
    """A 64-bit number as the signed one that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def text_of(data: bytes, span: Span) -> str:
    """Bytes as text."""
    try:
        return data[span[0] : span[1]].decode("utf-8")
    except UnicodeDecodeError as error:
        raise broken(f"the name at byte {span[0]} is not UTF-8") from error


def broken(problem: str) -> IntegrityError:
    """The error for an ONNX model that cannot be read."""
    return IntegrityError(f"ONNX model: {problem}", hint="the bundle is damaged; get it again")
