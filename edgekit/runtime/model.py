"""What :func:`edgekit.runtime.load` returns, whatever the task."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from edgekit.bundle.trust import UNCHECKED, Standing
from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.answers import Input, Raw, agreement
from edgekit.runtime.opened import Opened

if TYPE_CHECKING:
    from edgekit.bundle.store.locks import Lock
    from edgekit.runtime.golden import Golden
    from edgekit.runtime.text import TokenCounter


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What replaying the golden cases gave.

    Attributes:
        cases: How many were replayed.
        worst: The least agreement between an answer and the expected one; see :mod:`edgekit.runtime.answers`.
        bound: The least agreement the bundle accepts.
        passed: Whether the worst is no less than the bound.
        seconds: How long it took.
    """

    cases: int
    worst: float
    bound: float
    passed: bool
    seconds: float


class Model(ABC):
    """An open bundle. A subclass for each family of tasks says how it answers; threads may share it.

    Attributes:
        bundle: The open bundle, wherever it was found.
        manifest: Its manifest.
        variant: The variant that was loaded.
        host: The machine it was chosen for.
        standing: Whether its maker is known: ``signed`` by a trusted key, ``unsigned``, or ``unchecked``.
        unwraps_one: Whether a list of one input is answered as that input alone, as some pipelines do.
    """

    unwraps_one: ClassVar[bool] = False

    def __init__(self, opened: Opened) -> None:
        self.bundle = opened.bundle
        self.manifest = opened.manifest
        self.variant = opened.variant
        self.host = opened.host
        self.standing = Standing(UNCHECKED)
        self._opened = opened

    @abstractmethod
    def __call__(self, inputs: Any) -> Any:
        """Answers in the shape ``transformers.pipeline`` gives them for the task.

        Raises:
            InputError: An input is not of the task's kind; the message has its index.
            UsageError: The model is closed.
            HostError: ONNX Runtime failed.
        """

    @abstractmethod
    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """Answers before they are put into words: what parity and the self-test compare.

        Args:
            inputs: Each with the fields that the task's golden cases have.
            batch_size: Inputs run at once, at most.

        Raises:
            InputError: An input is not of the task's kind.
            UsageError: The model is closed.
            HostError: ONNX Runtime failed.
        """

    def named(self, task: str) -> Self:  # noqa: ARG002 - for subclasses
        """The model under one of its task's names, such as ``summarization``, where that changes its results."""
        return self

    @property
    def threads(self) -> int:
        """Threads within one operator."""
        return self._opened.threads

    def with_threads(self, threads: int) -> Self:
        """A second model of the same open bundle, beside this one, whose calls take so many threads.

        Nothing is decided or trusted anew: variant and manifest are this model's, and what is read is held against that
        manifest. Weights that lie outside the graph are shared; what ONNX Runtime packs of them is held twice.

        Args:
            threads: Within one operator.

        Returns:
            To be closed by itself, and before this one where that is an installed bundle.

        Raises:
            IntegrityError: A file is no longer what the manifest lists.
            HostError: There is not enough memory for it.
            UsageError: This model is closed.
        """
        opened = self._opened.with_threads(threads)
        model = type(self)(opened)
        opened.loaded()
        model.standing = self.standing
        return model

    def golden(self) -> tuple[Golden, ...]:
        """The bundle's golden cases: inputs with the reference's raw answers.

        Raises:
            IntegrityError: They are not what the manifest lists.
        """
        from edgekit.runtime.golden import read_golden  # a start without self-test does not pay for it

        return read_golden(self._opened.read(self.manifest.golden))

    def self_test(self) -> SelfTest:
        """Replay the bundle's golden cases, one by one.

        Raises:
            IntegrityError: The golden cases are not what the manifest lists, or the model does not take them.
            HostError: ONNX Runtime failed.
        """
        began = time.perf_counter()
        cases = self.golden()
        try:
            worst = min(agreement(case.expected, self.raw([case.input])[0]) for case in cases)
        except InputError as error:
            # Whoever runs the self-test handed in nothing: these are the bundle's own inputs.
            raise IntegrityError(
                f"{self.manifest.golden}: the model does not take its own golden cases: {error.message}",
                hint="golden cases and graph are not of one bundle; get it again",
            ) from error
        bound = self.variant.self_test_min
        return SelfTest(len(cases), worst, bound, worst >= bound, time.perf_counter() - began)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, special ones included and none dropped: what a service holds against its limit.

        Raises:
            InputError: It is no text, or holds a lone surrogate.
            IntegrityError: The bundle reads no text, or its tokenizer is not what the manifest lists.
        """
        return self._counter.count(text)

    @cached_property
    def _counter(self) -> TokenCounter:
        from edgekit.runtime.text import TokenCounter  # only who asks for it pays for a second tokenizer
        from edgekit.spec.settings.text import TextSettings

        settings = self._opened.section(TextSettings)
        return TokenCounter(self._opened.read(settings.tokenizer), settings)

    def hold(self, lease: Lock) -> None:
        """Keep an installed version's files from being removed until the model is closed, or collected."""
        self._opened.lease = lease

    def close(self) -> None:
        """Give the model's memory back. Asking it afterwards is a UsageError."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
