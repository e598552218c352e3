"""Embed texts: from strings to vectors, as the original model does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from edgekit.bundle.reading import Bundle
from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime.host import Host
from edgekit.runtime.pooling import normalize, pool
from edgekit.runtime.session import Session
from edgekit.runtime.text import TextEncoder
from edgekit.spec.manifest import Manifest, Variant


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What replaying the golden cases gave.

    Attributes:
        cases: How many were replayed.
        worst_cosine: The least cosine between an answer and the expected one.
        bound: The least cosine the bundle accepts.
        passed: Whether the worst is no less than the bound.
        seconds: How long it took.
    """

    cases: int
    worst_cosine: float
    bound: float
    passed: bool
    seconds: float


class Embedder:
    """An open bundle that turns text into vectors. :func:`edgekit.runtime.load` makes it; threads may share it.

    Attributes:
        manifest: The bundle's manifest.
        variant: The variant that was loaded.
        host: The machine it was chosen for.
        dimension: Length of a vector.
        max_length: Tokens of a text that are looked at, special ones included.
    """

    def __init__(self, bundle: Bundle, variant: Variant, host: Host, text: TextEncoder, session: Session) -> None:
        self.manifest: Manifest = bundle.manifest
        self.variant = variant
        self.host = host
        self.dimension = bundle.manifest.embedding.dimension
        self.max_length = bundle.manifest.text.max_length
        self._bundle = bundle
        self._text = text
        self._session = session

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
        by_length: dict[int, list[int]] = {}
        for row, row_ids in enumerate(ids):
            by_length.setdefault(len(row_ids), []).append(row)
        for rows in by_length.values():
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                vectors[batch] = self._embed_ids([ids[row] for row in batch])
        return vectors

    def self_test(self) -> SelfTest:
        """Replay the bundle's golden cases, one by one.

        Raises:
            IntegrityError: The golden cases are not what the manifest lists.
            HostError: ONNX Runtime failed.
        """
        from edgekit.runtime.golden import read_golden  # a start without self-test does not pay for it

        began = time.perf_counter()
        cases = read_golden(bytes(self._bundle.read(self.manifest.golden)), self.dimension)
        worst = min(_cosine(self.embed(case.text), case.embedding) for case in cases)
        bound = self.variant.self_test_cosine
        return SelfTest(len(cases), worst, bound, worst >= bound, time.perf_counter() - began)

    def close(self) -> None:
        """Give the model's memory back. Embedding afterwards is a UsageError."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embed_ids(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        settings = self.manifest.embedding
        feeds = self._text.batch(ids, self._session.inputs)
        states = self._session.run(feeds)[settings.output]
        width = max(1, *map(len, ids))
        if states.shape != (len(ids), width, self.dimension):
            raise IntegrityError(
                f"{self.variant.model_path}: {settings.output} has shape {states.shape}, "
                f"expected {(len(ids), width, self.dimension)}"
            )
        lengths = np.array([len(row) for row in ids])
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        vectors = pool(states.astype(np.float32, copy=False), mask, settings.pooling)
        return normalize(vectors) if settings.normalize else vectors


def _cosine(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    product = float(np.dot(left.astype(np.float64), right.astype(np.float64)))
    lengths = float(np.linalg.norm(left.astype(np.float64)) * np.linalg.norm(right.astype(np.float64)))
    # No direction, no agreement: a zero or broken vector must not pass (a NaN would be lost in min()).
    return product / lengths if np.isfinite(product) and np.isfinite(lengths) and lengths > 0 else -1.0
