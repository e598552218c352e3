"""Which operators a graph is made of, read from its bytes alone."""

from __future__ import annotations

from collections import Counter
from typing import Final

from edgekit.runtime.protobuf import Span, broken, fields_of, span_of, text_of

MAX_DEPTH: Final = 64
ONNX: Final = "ai.onnx"

# Message kind -> field number -> kind of the message inside, for what can hold nodes (onnx.proto of ONNX 1.23).
_PATHS: Final = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}


def count_nodes(model: bytes) -> Counter[str]:
    """How many nodes of each operator a model has, inner graphs and functions included.

    Args:
        model: A serialized ``ModelProto``.

    Returns:
        By ``domain.operator``; ONNX's own domain is ``ai.onnx``.

    Raises:
        IntegrityError: The bytes are no protobuf message.
    """
    counts: Counter[str] = Counter()
    _count(model, (0, len(model)), "model", counts, 0)
    return counts


def _count(data: bytes, span: Span, kind: str, counts: Counter[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise broken(f"messages are nested deeper than {MAX_DEPTH}")
    if kind == "node":
        counts[_operator(data, span)] += 1
    inner = _PATHS[kind]
    for field in fields_of(data, span):
        child = inner.get(field[0])
        if child is not None:
            _count(data, span_of(field), child, counts, depth + 1)


def _operator(data: bytes, span: Span) -> str:
    texts = {4: "", 7: ""}  # op_type, domain
    for field in fields_of(data, span):
        if field[0] in texts:
            texts[field[0]] = text_of(data, span_of(field))
    return f"{texts[7] or ONNX}.{texts[4]}"
