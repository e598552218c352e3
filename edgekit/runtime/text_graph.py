"""A graph that reads text: its tokenizer, its session, and answers checked for their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.encoded import Encoded
from edgekit.runtime.opened import Opened
from edgekit.runtime.pairs import PairEncoder, group_by_length
from edgekit.runtime.text import check_inputs
from edgekit.spec.settings.text import TextSettings

TOKENS = "tokens"

Shape: TypeAlias = tuple[int | str, ...]
Arrays: TypeAlias = dict[str, npt.NDArray[np.float32]]


class TextGraph:
    """A bundle's one graph, asked with tokens.

    Args:
        opened: The bundle.

    Attributes:
        encoder: Makes the tokens.
    """

    def __init__(self, opened: Opened) -> None:
        text = opened.section(TextSettings)
        check_inputs(opened.manifest.components["model"].inputs)
        self.encoder = PairEncoder(opened.read(text.tokenizer), text)
        self._session = opened.session()
        self._path = opened.variant.graph_path("model")

    def run(self, encoded: Sequence[Encoded], shapes: Mapping[str, Shape], batch_size: int) -> list[Arrays]:
        """The answers to tokens, in their order; only equally long ones share a batch (docs/decisions/0005).

        Args:
            encoded: The inputs' tokens.
            shapes: The outputs wanted, each with its shape behind the batch: sizes, or ``tokens``.
            batch_size: Inputs run at once, at most.

        Returns:
            For each input the outputs by name, of those shapes.

        Raises:
            InputError: An input holds no token.
            UsageError: ``batch_size`` makes no sense, or the model is closed.
            IntegrityError: An output is of another shape.
            HostError: ONNX Runtime failed.
        """
        for index, item in enumerate(encoded):
            if not len(item):
                raise InputError(f"input {index}: holds no token")
        answers: list[Arrays] = [{} for _ in encoded]
        for rows in group_by_length(encoded, batch_size):
            batch = [encoded[row] for row in rows]
            found = self._session.run(self.encoder.stack(batch, self._session.inputs))
            for name, shape in shapes.items():
                expected = (len(rows), *(len(batch[0]) if size == TOKENS else size for size in shape))
                if found[name].shape != expected:
                    raise IntegrityError(f"{self._path}: {name} has shape {found[name].shape}, expected {expected}")
                for row, answer in zip(rows, found[name].astype(np.float32, copy=False), strict=True):
                    answers[row][name] = answer
        return answers


def listed(inputs: Any) -> tuple[list[Any], bool]:
    """Inputs as a list, and whether there was only one outside a list.

    Raises:
        InputError: They are neither a text, nor fields, nor a list.
    """
    if isinstance(inputs, str | Mapping):
        return [inputs], True
    if not isinstance(inputs, Sequence | np.ndarray) or isinstance(inputs, bytes | bytearray | memoryview):
        raise InputError(f"expected a str, a dict, or a list of them, got {type(inputs).__name__}")
    return list(inputs), False


def fields(item: Any, index: int, wanted: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """The named fields of an input.

    Args:
        item: A mapping; a ``str`` is its first wanted field.
        index: Its place, for errors.
        wanted: Fields it must have.
        optional: Fields it may have.

    Raises:
        InputError: A field is missing or unknown, or the item is neither.
    """
    if isinstance(item, str) and len(wanted) == 1:
        return {wanted[0]: item}
    if not isinstance(item, Mapping):
        kinds = "a str or a dict" if len(wanted) == 1 else "a dict"
        raise InputError(f"input {index}: expected {kinds}, got {type(item).__name__}")
    for name in wanted:
        if name not in item:
            raise InputError(f"input {index}: has no field {name!r}, only {', '.join(map(str, item)) or 'none'}")
    for name in item:
        if name not in (*wanted, *optional):
            raise InputError(f"input {index}: unknown field {name!r}; expected {', '.join((*wanted, *optional))}")
    return dict(item)
