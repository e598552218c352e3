"""Embed texts: from strings to vectors, as the original model does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.pooling import normalize, pool
from edgekit.runtime.text import TextEncoder, check_inputs, equal_lengths, texts_of
from edgekit.spec.settings.embedding import EmbeddingSettings
from edgekit.spec.settings.text import TextSettings


class Embedder(Model):
    """An open bundle that turns text into vectors.

    Attributes:
        dimension: Length of a vector.
        max_length: Tokens of a text that are looked at, special ones included.
    """

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(EmbeddingSettings)
        text = opened.section(TextSettings)
        self.dimension = self._settings.dimension
        self.max_length = text.max_length
        check_inputs(self.manifest.components["model"].inputs)
        self._text = TextEncoder(opened.read(text.tokenizer), text)
        self._session = opened.session()

    def embed(self, texts: str | Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """The vectors of texts, in their order.

        Only texts of equally many tokens share a batch: padding would cost time, and the values at padded
        positions would widen the range that dynamic int8 chooses for the whole tensor (docs/decisions/0005).
        A text longer than ``max_length`` tokens is truncated on the right, an empty one is embedded as its
        special tokens alone.

        Args:
            texts: The texts; a single one gives a single vector, as sentence-transformers has it.
            batch_size: Texts run at once, at most.

        Returns:
            (n, dimension), or (dimension,) for a single ``str``. No texts give (0, dimension).

        Raises:
            InputError: An item is no text; the message has its index.
            UsageError: ``batch_size`` is less than 1, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        if isinstance(texts, str):
            single: npt.NDArray[np.float32] = self.embed([texts])[0]
            return single
        if not isinstance(texts, Sequence | np.ndarray):
            raise InputError(f"expected a str or a list of str, got {type(texts).__name__}")
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        ids = self._text.encode(texts)
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        for batch in equal_lengths(ids, batch_size):
            vectors[batch] = self._embed_ids([ids[row] for row in batch])
        return vectors

    def __call__(self, inputs: str | Sequence[str]) -> list[Any]:
        """Token states as ``transformers.pipeline("feature-extraction")`` gives them.

        Args:
            inputs: A text, or texts.

        Returns:
            For each text a list (1, tokens, dimension); for a single ``str`` that list itself.

        Raises:
            InputError: An item is no text.
            UsageError: The model is closed.
            HostError: ONNX Runtime failed.
        """
        if isinstance(inputs, str):
            return list(self([inputs])[0])
        return [self._states([ids]).tolist() for ids in self._text.encode(inputs)]

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """Vectors, as ``{"embedding": (dimension,)}`` for inputs ``{"text": str}``; see :meth:`Model.raw`."""
        return [{"embedding": vector} for vector in self.embed(texts_of(inputs), batch_size=batch_size)]

    def _embed_ids(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        states = self._states(ids)
        lengths = np.array([len(row) for row in ids])
        mask = (np.arange(states.shape[1]) < lengths[:, None]).astype(np.int64)
        vectors = pool(states, mask, self._settings.pooling)
        return normalize(vectors) if self._settings.normalize else vectors

    def _states(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        states = self._session.run(self._text.batch(ids, self._session.inputs))[self._settings.output]
        expected = (len(ids), max(1, *map(len, ids)), self.dimension)
        if states.shape != expected:
            raise IntegrityError(
                f"{self.variant.graph_path('model')}: {self._settings.output} has shape {states.shape}, "
                f"expected {expected}"
            )
        return states.astype(np.float32, copy=False)
