"""The tensors a model asks its graphs with, on tape; and the same model answering from what another runtime gave.

WebAssembly and WebGPU have no Python: what goes into a graph and what becomes of its outputs stays here, in the
runtime's own code, and only the graphs run there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.runtime.answers import Raw
from edgekit.runtime.binding import Binding, Buffer
from edgekit.runtime.golden import Golden
from edgekit.runtime.loading import model_of
from edgekit.runtime.opened import Opened
from edgekit.runtime.session import Session, this_host
from edgekit.spec.manifest import Variant
from edgekit.spec.provider import CPU

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One run of a graph.

    Attributes:
        component: The graph's.
        feeds: What it was asked with.
        outputs: What it gave.
    """

    component: str
    feeds: Arrays
    outputs: Arrays


def record(bundle: Bundle, variant: Variant, sample: Sequence[Golden]) -> list[list[Call]]:
    """The calls that answering each input takes, run on this machine's CPU."""
    calls: list[Call] = []
    taped: list[list[Call]] = []
    with model_of(_Recording(bundle, variant, calls)) as model:
        for case in sample:
            calls.clear()
            model.raw([case.input])
            taped.append(list(calls))
    return taped


def replay(bundle: Bundle, variant: Variant, sample: Sequence[Golden], answered: Sequence[Sequence[Call]]) -> list[Raw]:
    """The answers that the calls' outputs amount to.

    Args:
        bundle: The open bundle.
        variant: The one recorded.
        sample: The inputs recorded.
        answered: For each input its calls, with another runtime's outputs.

    Raises:
        HostError: The outputs lead to other calls than those recorded.
    """
    waiting: list[Call] = []
    raws = []
    with model_of(_Playing(bundle, variant, waiting)) as model:
        for case, calls in zip(sample, answered, strict=True):
            waiting[:] = calls
            raws.append(model.raw([case.input])[0])
    return raws


class _Recording(Opened):
    def __init__(self, bundle: Bundle, variant: Variant, calls: list[Call]) -> None:
        super().__init__(bundle, variant, this_host(), threads=1, spin=False, provider=CPU)
        self._calls = calls

    def session(self, component: str = "model") -> Session:
        return _RecordedSession(super().session(component), component, self._calls)


class _RecordedSession(Session):
    def __init__(self, inner: Session, component: str, calls: list[Call]) -> None:
        self.inputs, self.outputs = inner.inputs, inner.outputs
        self._inner = inner
        self._component = component
        self._calls = calls

    def run(self, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
        outputs = self._inner.run(feeds)
        self._calls.append(Call(self._component, _copies(feeds), _copies(outputs)))
        return outputs

    def binding(self) -> Binding:
        return _RecordedBinding(self._inner.binding(), self._component, self._calls)

    def close(self) -> None:
        self._inner.close()


class _RecordedBinding(Binding):
    def __init__(self, inner: Binding, component: str, calls: list[Call]) -> None:
        self._inner = inner
        self._component = component
        self._calls = calls
        self._asked: dict[str, npt.NDArray[Any]] = {}
        self._given: dict[str, npt.NDArray[Any]] = {}

    def input(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        self._inner.input(name, buffer, shape)
        self._asked[name] = buffer.view(*shape)

    def output(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        self._inner.output(name, buffer, shape)
        self._given[name] = buffer.view(*shape)

    def run(self) -> None:
        feeds = _copies(self._asked)  # before the run: an output may lie in an input's memory
        self._inner.run()
        self._calls.append(Call(self._component, feeds, _copies(self._given)))


class _Playing(Opened):
    def __init__(self, bundle: Bundle, variant: Variant, waiting: list[Call]) -> None:
        super().__init__(bundle, variant, this_host(), threads=1, spin=False, provider=CPU)
        self._waiting = waiting

    def session(self, component: str = "model") -> Session:
        described = self.manifest.components[component]
        played = _PlayedSession(component, self._waiting)
        played.inputs, played.outputs = described.inputs, described.outputs
        return played


class _PlayedSession(Session):
    def __init__(self, component: str, waiting: list[Call]) -> None:
        self._component = component
        self._waiting = waiting

    def run(self, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
        return dict(_next(self._waiting, self._component, feeds))

    def binding(self) -> Binding:
        return _PlayedBinding(self._component, self._waiting)

    def close(self) -> None:
        self._waiting.clear()


class _PlayedBinding(Binding):
    def __init__(self, component: str, waiting: list[Call]) -> None:
        self._component = component
        self._waiting = waiting
        self._asked: dict[str, npt.NDArray[Any]] = {}
        self._given: dict[str, npt.NDArray[Any]] = {}

    def input(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        self._asked[name] = buffer.view(*shape)

    def output(self, name: str, buffer: Buffer, shape: tuple[int, ...]) -> None:
        self._given[name] = buffer.view(*shape)

    def run(self) -> None:
        outputs = _next(self._waiting, self._component, self._asked)
        for name, place in self._given.items():
            if name not in outputs or outputs[name].shape != place.shape:
                raise HostError(f"{self._component}: output {name} came in another shape")
            place[...] = outputs[name]


def _next(waiting: list[Call], component: str, feeds: Arrays) -> Arrays:
    call = waiting.pop(0) if waiting else None
    same = call is not None and call.component == component and set(call.feeds) == set(feeds)
    if call is None or not same or not all(_alike(call.feeds[name], feeds[name]) for name in feeds):
        raise HostError(f"its outputs lead to another call of {component} than this machine's do")
    return call.outputs


def _alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    # Floats that come from an earlier graph differ in their last digits; token ids and masks may not.
    return one.shape == other.shape and (one.dtype.kind == "f" or bool(np.array_equal(one, other)))


def _copies(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    return {name: np.array(array) for name, array in arrays.items()}
