"""Attention as one node: ONNX Runtime's ``MultiHeadAttention`` in the place of a dozen that the exporter writes.

The CPU's kernel reads query, key and value where the products left them, (batch, sequence, hidden), so that six
transposes and reshapes a layer go, and without a mask it never writes the scores down. Masks that only leave padding
out become the kernel's own; every other mask, and biases of positions, are passed on as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgekit.stages.products import Matrix, constant, only_consumer, producer

DOMAIN: Final = "com.microsoft"
LOWEST: Final = float(np.finfo(np.float32).min)
MASK: Final = "attention_mask"

_SPLIT: Final = (0, 2, 1, 3)  # (batch, sequence, heads, size) to (batch, heads, sequence, size) and back
_SPLIT_TRANSPOSED: Final = (0, 2, 3, 1)
_PROBES: Final = ((1, 5), (2, 3), (3, 7))  # batch and length of the masks that a subgraph is tried with


def fuse_attention(model: ir.Model) -> int:
    """Replace softmax attention over split heads by ``MultiHeadAttention``, in place.

    Left alone are heads that share keys, a cache, masks whose rows or columns are broadcast, and what follows no
    known pattern.

    Returns:
        The number of attentions fused.
    """
    graph = model.graph
    matches = [match for node in list(graph) if (match := _match(node)) is not None]
    padding = _PaddingMasks(model)
    count = 0
    for match in matches:
        mask = _mask_inputs(match.mask, padding)
        if mask is None:
            continue
        inputs = [match.query, match.key, match.value, None, *mask]
        while inputs[-1] is None:
            inputs.pop()
        attributes = {"num_heads": match.heads, "scale": match.scale, "mask_filter_value": LOWEST}
        node = ir.node("MultiHeadAttention", inputs, attributes, domain=DOMAIN)
        old = match.joined
        node.name, output = old.name, old.outputs[0]
        node.outputs[0].shape, node.outputs[0].type = output.shape, output.type
        ir.convenience.replace_nodes_and_values(graph, old, [old], [node], [output], [node.outputs[0]])
        count += 1
    if count:
        graph.opset_imports[DOMAIN] = 1
    return count


def attentions(graph: ir.Graph) -> int:
    """How many softmaxes feed a product: attention that no pass and not the exporter has fused."""
    count = 0
    for node in graph:
        after = only_consumer(node.outputs[0]) if node.op_type == "Softmax" else None
        count += after is not None and after.op_type == "MatMul"
    return count


@dataclass(frozen=True, slots=True)
class _Attention:
    """Query, key and value of (batch, sequence, hidden), the mask that is added, and the node that joins the heads."""

    query: ir.Value
    key: ir.Value
    value: ir.Value
    mask: ir.Value | None
    heads: int
    scale: float
    joined: ir.Node


@dataclass(frozen=True, slots=True)
class _Heads:
    """A value of (batch, sequence, hidden) that was split into heads, and what it was multiplied with."""

    value: ir.Value
    heads: int
    scale: float


def _match(softmax: ir.Node) -> _Attention | None:
    if softmax.op_type != "Softmax" or softmax.attributes.get_int("axis", -1) not in (-1, 3):
        return None
    scores, mask = _without_mask(softmax.inputs[0])
    product, scale = _without_scale(scores)
    mix = only_consumer(softmax.outputs[0])
    if product is None or product.op_type != "MatMul" or mix is None or mix.op_type != "MatMul":
        return None
    if mix.inputs[0] is not softmax.outputs[0]:
        return None
    query, key = _heads(product.inputs[0], _SPLIT), _heads(product.inputs[1], _SPLIT_TRANSPOSED)
    value = _heads(mix.inputs[1], _SPLIT)
    joined = _joined(mix)
    if query is None or key is None or value is None or joined is None:
        return None
    if len({query.heads, key.heads, value.heads}) != 1 or value.scale != 1:
        return None
    return _Attention(query.value, key.value, value.value, mask, query.heads, scale * query.scale * key.scale, joined)


def _without_mask(value: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None]:
    """Scores and the mask added to them, if any: the scores are the operand that a product made."""
    node = producer(value)
    if node is None or node.op_type != "Add":
        return value, None
    for scores, mask in (node.inputs, node.inputs[::-1]):
        product, _ = _without_scale(scores)
        if product is not None and product.op_type == "MatMul":
            return scores, mask
    return value, None


def _without_scale(value: ir.Value | None) -> tuple[ir.Node | None, float]:
    """The node behind multiplications and divisions by one number, and that number."""
    node, scale = producer(value), 1.0
    while node is not None and node.op_type in ("Mul", "Div"):
        first, second = node.inputs
        number, rest = (_number(second), first) if _number(second) is not None else (_number(first), second)
        if number is None or (node.op_type == "Div" and rest is second):
            return node, scale
        scale = scale * number if node.op_type == "Mul" else scale / number
        node = producer(rest)
    return node, scale


def _heads(value: ir.Value | None, order: tuple[int, ...]) -> _Heads | None:
    node, scale = _without_scale(value)
    if node is None or node.op_type != "Transpose" or tuple(node.attributes.get_ints("perm", ())) != order:
        return None
    split = producer(node.inputs[0])
    if split is None or split.op_type != "Reshape" or split.inputs[0] is None:
        return None
    sizes = _head_sizes(split)
    rank = split.inputs[0].shape
    if sizes is None or (rank is not None and len(rank) != 3):
        return None
    return _Heads(split.inputs[0], sizes[0], scale)


def _head_sizes(split: ir.Node) -> tuple[int, int] | None:
    """Heads and their size where a Reshape makes (batch, sequence, heads, size) with both known."""
    shape = split.inputs[1]
    if shape is not None and shape.const_value is not None:
        numbers = [int(number) for number in constant(shape)]
        return (numbers[2], numbers[3]) if len(numbers) == 4 and min(numbers[2:]) > 0 else None
    found = split.outputs[0].shape
    if found is None or len(found) != 4:
        return None
    heads, size = found[2], found[3]
    return (heads, size) if isinstance(heads, int) and isinstance(size, int) else None


def _joined(mix: ir.Node) -> ir.Node | None:
    """The Reshape that joins the heads behind the second product."""
    back = only_consumer(mix.outputs[0])
    if back is None or back.op_type != "Transpose" or tuple(back.attributes.get_ints("perm", ())) != _SPLIT:
        return None
    joined = only_consumer(back.outputs[0])
    if joined is None or joined.op_type != "Reshape":
        return None
    shape = joined.outputs[0].shape
    return joined if shape is None or len(shape) == 3 else None


def _mask_inputs(mask: ir.Value | None, padding: _PaddingMasks) -> tuple[ir.Value | None, ir.Value | None] | None:
    """The node's inputs for padding and for a bias; None where it takes no such mask."""
    if mask is None:
        return None, None
    kept = padding.kept(mask)
    if kept is not None:
        return kept, None
    shape = mask.shape
    if shape is None or len(shape) != 4 or shape[2] == 1 or shape[3] == 1 or None in list(shape)[2:]:
        return None
    return None, mask


class _PaddingMasks:
    """Tells masks that only leave padding out, and gives the mask of the graph's input in the kernel's form."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._ir_version = model.ir_version
        self._known: dict[str, bool] = {}
        self._kept: ir.Value | None = None

    def kept(self, mask: ir.Value) -> ir.Value | None:
        """int32 (batch, sequence), 1 where there is a token; None where the mask says anything else."""
        name = mask.name or ""
        if name not in self._known:
            self._known[name] = self._is_padding(mask)
        if not self._known[name]:
            return None
        if self._kept is None:
            source = next(value for value in self._graph.inputs if value.name == MASK)
            cast = ir.node("Cast", [source], {"to": ir.DataType.INT32}, name=f"{MASK}/kept")
            cast.outputs[0].name = f"{MASK}.kept"
            self._graph.insert_before(self._graph[0], cast)
            self._kept = cast.outputs[0]
        return self._kept

    def _is_padding(self, mask: ir.Value) -> bool:
        """Whether the mask is ``lowest`` at left-out keys and 0 elsewhere.

        Exporters write it in many ways, with comparisons and indices that mean nothing in the end. So the
        nodes are not read but run, on masks that tell every other meaning apart.
        """
        inputs = [value for value in self._graph.inputs if value.dtype is not None]
        if MASK not in {value.name for value in inputs} or any(
            value.shape is None or len(value.shape) != 2 or not value.dtype.is_integer()  # type: ignore[union-attr]
            for value in inputs
        ):
            return False
        try:
            part = ir.convenience.extract(self._graph, inputs, [mask])
        except ValueError:  # it hangs on something else than the inputs
            return False
        model = ir.Model(part, ir_version=self._ir_version)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(
            ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = {node.name: node.type for node in session.get_inputs()}
        random = np.random.default_rng(0)
        for batch, length in _PROBES:
            kept = random.integers(0, 2, (batch, length))
            kept[:, 0] = 1
            feeds = {
                value.name or "": (kept if value.name == MASK else np.zeros_like(kept)).astype(value.dtype.numpy())  # type: ignore[union-attr]
                for value in inputs
                if value.name in wanted
            }
            found = session.run(None, feeds)[0]
            if not _says(found, kept):
                return False
        return True


def _says(found: Matrix, kept: Matrix) -> bool:
    batch, length = kept.shape
    wanted = np.where(kept == 1, np.float32(0), np.float32(LOWEST))[:, None, None, :]
    if found.ndim != 4 or found.shape[0] != batch or found.shape[3] != length:
        return False
    return bool(np.array_equal(found, np.broadcast_to(wanted, found.shape)))


def _number(value: ir.Value | None) -> float | None:
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(constant(value).item())
