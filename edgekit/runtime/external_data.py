"""Find the weights that an ONNX model keeps in other files, without trusting the model.

A strict reader of the few protobuf fields that can name a file. ONNX Runtime resolves such names
itself and would open them; here they are found first, checked against the bundle's list, and handed
over from verified memory. Field numbers: onnx.proto of ONNX 1.23; see :mod:`.protobuf` for what is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edgekit.errors import IntegrityError
from edgekit.runtime.protobuf import VARINT, Field, Span, broken, fields_of, number_of, signed, span_of, text_of, varint

MAX_DEPTH: Final = 64  # protobuf itself stops at 100
MAX_DIMENSIONS: Final = 32

# Bits per element by TensorProto.DataType. Strings and complex numbers have no place in external data here.
ELEMENT_BITS: Final = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip

# TensorProto's fields for data inside the model: float, int32, string, int64, raw, double, uint64.
_INLINE_DATA: Final = (4, 5, 6, 7, 9, 10, 11)

# Message kind -> field number -> kind of the message inside. Only what can lead to a tensor. "weight" is a tensor
# that may keep its data in a file: an initializer of the main graph and nothing else.
_PATHS: Final = {
    "model": {7: "main graph", 20: "training", 25: "function"},
    "main graph": {1: "node", 5: "weight", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """One weight of the main graph that lies in another file.

    Attributes:
        name: Of the initializer.
        data_type: ONNX's number (TensorProto.DataType).
        dims: Its shape.
        location: Name of the file beside the model.
        offset: Where its bytes start.
        length: How many bytes; follows from type and shape.
    """

    name: str
    data_type: int
    dims: tuple[int, ...]
    location: str
    offset: int
    length: int


def external_tensors(model: bytes, files: Mapping[str, int]) -> tuple[ExternalTensor, ...]:
    """The initializers of a model's main graph that lie in other files.

    Args:
        model: A serialized ``ModelProto``.
        files: Name and size in bytes of the listed files beside the model.

    Raises:
        IntegrityError: The bytes are no protobuf message, or external data lies where a bundle may not keep it:
            in a file not listed, outside that file, with a length that does not fit the shape, or in anything but an
            initializer of the main graph.
    """
    found: list[ExternalTensor] = []
    for span, kind in _tensors(model, (0, len(model)), "model", 0):
        tensor = _read_tensor(model, span, files)
        if tensor is None:
            continue
        if kind != "weight":
            raise broken(f"{tensor.name!r} keeps external data outside the main graph's initializers")
        found.append(tensor)
    names = [tensor.name for tensor in found]
    if len(set(names)) != len(names):
        raise broken("two initializers with external data have one name")
    return tuple(found)


def _tensors(data: bytes, span: Span, kind: str, depth: int) -> Iterator[tuple[Span, str]]:
    """Every tensor of a message, and whether it is a ``weight`` or another ``tensor``."""
    if depth > MAX_DEPTH:
        raise broken(f"messages are nested deeper than {MAX_DEPTH}")
    inner = _PATHS[kind]
    for field in fields_of(data, span):
        child = inner.get(field[0])
        if child in ("weight", "tensor"):
            yield span_of(field), child
        elif child is not None:
            yield from _tensors(data, span_of(field), child, depth + 1)


def _read_tensor(data: bytes, span: Span, files: Mapping[str, int]) -> ExternalTensor | None:
    fields = list(fields_of(data, span))
    name = next((text_of(data, span_of(field)) for field in reversed(fields) if field[0] == 8), "")
    data_location = next((number_of(field) for field in reversed(fields) if field[0] == 14), 0)
    entries = [_entry(data, span_of(field)) for field in fields if field[0] == 13]
    if data_location not in (0, 1):
        raise broken(f"{name!r} has data location {data_location}")
    if data_location == 0:
        if entries:
            raise broken(f"{name!r} names external data but keeps its data inside")
        return None
    if any(field[0] in _INLINE_DATA for field in fields):
        raise broken(f"{name!r} keeps its data both inside and outside")
    if len(dict(entries)) != len(entries):
        raise broken(f"{name!r} gives a part of its external data twice")
    data_type = next((number_of(field) for field in reversed(fields) if field[0] == 2), 0)
    dims = tuple(size for field in fields if field[0] == 1 for size in _dims(data, field))
    return _placed(name, data_type, dims, dict(entries), files)


def _placed(
    name: str, data_type: int, dims: tuple[int, ...], entries: Mapping[str, str], files: Mapping[str, int]
) -> ExternalTensor:
    unknown = set(entries) - {"location", "offset", "length", "checksum"}
    if unknown or not name:
        raise broken(f"external data of {name!r}: unexpected {', '.join(sorted(unknown)) or 'empty name'}")
    location = entries.get("location", "")
    if location not in files:
        raise IntegrityError(
            f"external data of {name!r} lies in {location[:200]!r}, which is no listed file beside the model",
            hint="the bundle is damaged or was made to escape its folder; get it again",
        )
    if data_type not in ELEMENT_BITS:
        raise broken(f"{name!r} has data type {data_type}, which external data may not have")
    if len(dims) > MAX_DIMENSIONS or any(size < 0 or size > 1 << 48 for size in dims):
        raise broken(f"{name!r} has an impossible shape")
    needed = (math.prod(dims) * ELEMENT_BITS[data_type] + 7) // 8
    offset = _natural(name, "offset", entries.get("offset", "0"))
    length = _natural(name, "length", entries.get("length", str(needed)))
    if length != needed:
        raise broken(f"external data of {name!r}: {length} bytes, its shape {list(dims)} needs {needed}")
    if offset + length > files[location]:
        raise broken(f"external data of {name!r} ends at {offset + length}, {location} at {files[location]}")
    return ExternalTensor(name, data_type, dims, location, offset, length)


def _natural(name: str, key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise broken(f"external data of {name!r}: {key} {text[:40]!r} is no natural number")
    return int(text)


def _entry(data: bytes, span: Span) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for field in fields_of(data, span):
        if field[0] in texts:
            texts[field[0]] = text_of(data, span_of(field))
    return texts[1], texts[2]


def _dims(data: bytes, field: Field) -> list[int]:
    if field[1] == VARINT:
        return [number_of(field)]
    position, end = span_of(field)  # packed
    dims = []
    while position < end:
        number, position = varint(data, position, end)
        dims.append(signed(number))
    return dims
