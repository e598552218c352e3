"""Give exported weights the names of the parameters they were made from.

The exporter folds transposes and packs products of one input, and numbers what comes out. Names that say what a
weight is, and that are the same in every component, make evidence readable and files reproducible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from edgekit.stages.products import Matrix

MIN_BYTES: Final = 1024  # smaller ones stay in the graph; nobody looks for them
MAX_JOINED: Final = 6


def name_weights(model: ir.Model, module: Any) -> int:
    """Rename every large matrix that is a parameter, its transpose, or several transposes side by side, in place.

    Args:
        model: The graph.
        module: The torch module it was exported from; the wrapper's own prefix ``model.`` is dropped.

    Returns:
        How many weights were renamed.
    """
    names = _by_first_row(module)
    count = 0
    for old, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.nbytes < MIN_BYTES or len(tensor.shape) != 2:
            continue
        matrix = tensor.numpy()
        name = _exact(matrix, names) or _joined(_packed(matrix, names))
        if name and name != old and name not in model.graph.initializers:
            value.name = name
            count += 1
    return count


def _by_first_row(module: Any) -> Mapping[bytes, list[tuple[str, Matrix]]]:
    """Parameters of two dimensions by the digest of their first row; tied ones by their first name."""
    found: dict[bytes, list[tuple[str, Matrix]]] = {}
    for name, parameter in module.named_parameters():
        if parameter.ndim == 2:
            matrix = parameter.detach().numpy()
            found.setdefault(_digest(matrix[0]), []).append((name.removeprefix("model."), matrix))
    return found


def _exact(matrix: Matrix, names: Mapping[bytes, list[tuple[str, Matrix]]]) -> str:
    return next((name for name, known in names.get(_digest(matrix[0]), ()) if np.array_equal(known, matrix)), "")


def _joined(names: list[str]) -> str:
    """``a+b+c``; of many, such as the keys and values of every layer's cross-attention, the first and the last."""
    return "+".join(names) if len(names) <= MAX_JOINED else f"{names[0]}+{len(names) - 2}+{names[-1]}"


def _packed(matrix: Matrix, names: Mapping[bytes, list[tuple[str, Matrix]]]) -> list[str]:
    """The parameters whose transposes stand side by side in the matrix; nothing if one is unknown."""
    column = 0
    found: list[str] = []
    while column < matrix.shape[1]:
        for name, known in names.get(_digest(matrix[:, column]), ()):
            if np.array_equal(known.T, matrix[:, column : column + len(known)]):
                found.append(name)
                column += len(known)
                break
        else:
            return []
    return found


def _digest(row: Matrix) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest()
