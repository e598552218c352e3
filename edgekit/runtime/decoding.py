"""The decoding loop: one run of the prefill graph over the prompts, then one of the decode graph for every token.

The cache lives in buffers that are allocated once. A decode graph whose caches name their third size ``capacity``
appends to them in place. Any other reads ``past.*`` from one of two buffers of a layer and writes ``present.*`` into
the other; for the next step they change places. No cache passes through Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.binding import Binding, Buffer
from edgekit.runtime.sampling import GenerationOptions, Rule, Sampler, Scores, Tokens
from edgekit.runtime.session import Session
from edgekit.spec.manifest import Tensor

Stop = Callable[[int, int], bool]
"""Told a row and its new token; says whether the row ends with it."""

_PAST: Final = "past."
_PRESENT: Final = "present."
_CROSS: Final = "cross."
_LOGITS: Final = "logits"
_CAPACITY: Final = "capacity"
_KEPT: Final = "logit_positions"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one step gave.

    Attributes:
        tokens: (batch,) int64, the padding id where a row had ended before.
        live: (batch,) bool, whether the row's token counts.
        ended: (batch,) bool, whether the row ends with this token or ended before.
    """

    tokens: Tokens
    live: npt.NDArray[np.bool_]
    ended: npt.NDArray[np.bool_]


class Decoder:
    """The prefill and decode graphs of a model. Threads may share it; each call of :meth:`steps` has its own state.

    Args:
        prefill: Takes ``input_ids``, ``attention_mask`` and possibly ``position_ids`` for whole prompts,
            ``logit_positions`` (batch, kept) where logits are wanted, and for a model with an encoder also what
            :meth:`steps` is given; gives ``logits`` there, ``present.*`` and possibly ``cross.*``.
        decode: Takes the same for one token each, and ``past.*`` and ``cross.*``; gives ``logits`` and ``present.*``.
        pad_id: The token that fills up.
        max_positions: The longest row the model can hold; 0 where there is no end.

    Raises:
        IntegrityError: The two graphs are not such a pair.
    """

    def __init__(self, prefill: Session, decode: Session, *, pad_id: int, max_positions: int) -> None:
        self._prefill = prefill
        self._decode = decode
        self._max_positions = max_positions
        self._past = [tensor for tensor in decode.inputs if tensor.name.startswith(_PAST)]
        self._cross = [tensor for tensor in decode.inputs if tensor.name.startswith(_CROSS)]
        self._logits = _check_pair(prefill, decode, self._past, self._cross)
        self.vocabulary = int(self._logits.shape[-1])
        # What fills up does not count, but the graph looks it up.
        self._pad_id = pad_id if pad_id < self.vocabulary else 0

    def steps(
        self,
        prompts: Sequence[Sequence[int]],
        options: GenerationOptions,
        *,
        encoded: Mapping[str, npt.NDArray[Any]] | None = None,
        stop: Stop | None = None,
        rule: Rule | None = None,
    ) -> Iterator[Step]:
        """Generate token by token, until every row has ended or has ``max_new_tokens``.

        A row also ends where the longest prompt and what was generated reach the model's last position. Prompts and
        options are checked at once, the graphs run as the steps are asked for.

        Args:
            prompts: Token ids of each row, at least one each; shorter rows are padded on the left.
            options: How to choose.
            encoded: What the prefill and decode graphs take beside the decoder's own tokens, by name: the encoder's
                states and mask, (batch, ...).
            stop: Asked for every counting token.
            rule: Of the task's own, applied after those of the options.

        Raises:
            InputError: A prompt is empty, too long, or holds what is no token.
            UsageError: An option does not fit the model.
            HostError: ONNX Runtime failed, or the model answered with what is no number.
        """
        rows = _Rows(prompts, self._pad_id)
        limit = self._limit(rows.width, options.max_new_tokens)
        rows.reserve(limit)
        sampler = Sampler(options, prompt_length=rows.width, vocabulary=self.vocabulary, rule=rule)
        run = _Run(self._prefill, self._decode, rows, self._past, self._cross, encoded or {})
        return self._steps(run, rows, sampler, _Ends(np.array(options.eos_ids, dtype=np.int64), limit, stop))

    def _steps(self, run: _Run, rows: _Rows, sampler: Sampler, ends: _Ends) -> Iterator[Step]:
        logits = run.prefill(self._logits, 1)[:, 0]
        ended = np.zeros(rows.batch, dtype=np.bool_)
        for count in range(1, ends.limit + 1):
            tokens = sampler.choose(logits, rows.so_far, rows.starts)
            tokens[ended] = self._pad_id
            rows.append(tokens)
            live, ended = ~ended, ended | np.isin(tokens, ends.eos) | (count == ends.limit)
            if ends.stop is not None:
                for row in np.flatnonzero(live):
                    ended[row] |= ends.stop(int(row), int(tokens[row]))
            yield Step(tokens, live, ended.copy())
            if ended.all():
                return
            logits = run.decode()

    def teacher_forced(
        self,
        rows: Sequence[Sequence[int]],
        prompt_length: int,
        wanted: int,
        *,
        encoded: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> Scores:
        """The logits behind the last tokens of given rows, through the two graphs that generate.

        Args:
            rows: Token ids, equally many in each.
            prompt_length: How many of them are prefilled; every other one is decoded over the cache.
            wanted: How many of the last tokens.
            encoded: As for :meth:`steps`.

        Returns:
            (batch, wanted, vocabulary) float32.

        Raises:
            InputError: A row is empty, too long, or holds what is no token.
            HostError: ONNX Runtime failed.
        """
        whole = _Rows(rows, self._pad_id).so_far
        batch, length = whole.shape
        if self._max_positions and length > self._max_positions:
            raise InputError(f"the row has {length} tokens, this model takes at most {self._max_positions}")
        so_far = _Rows([row[:prompt_length] for row in rows], self._pad_id)
        so_far.reserve(length - so_far.width)
        run = _Run(self._prefill, self._decode, so_far, self._past, self._cross, encoded or {})
        answers = np.empty((batch, wanted, self.vocabulary), dtype=np.float32)
        prefilled = max(1, wanted - (length - so_far.width))
        logits = run.prefill(self._logits, prefilled)
        first = length - wanted  # the place of the first answer
        if first < so_far.width:
            answers[:, :prefilled] = logits
        for place in range(so_far.width, length):
            so_far.append(whole[:, place])
            behind = run.decode()
            if place >= first:
                answers[:, place - first] = behind
        return answers

    def _limit(self, width: int, wanted: int) -> int:
        if not self._max_positions:
            return wanted
        if width >= self._max_positions:
            raise InputError(
                f"the prompt has {width} tokens, this model takes at most {self._max_positions - 1}",
                hint="shorten the prompt",
            )
        return min(wanted, self._max_positions - width)


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """What ends a row."""

    eos: Tokens
    limit: int
    stop: Stop | None


class _Rows:
    """The tokens of a batch, padded on the left."""

    def __init__(self, prompts: Sequence[Sequence[int]], pad_id: int) -> None:
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        if not lengths.size or not lengths.all():
            raise InputError("expected at least one prompt, and at least one token in each")
        self.batch, self.width = len(prompts), int(lengths.max())
        self.starts: Tokens = self.width - lengths
        self.length = self.width
        self._tokens = np.full((self.batch, self.width), pad_id, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            try:
                self._tokens[row, self.starts[row] :] = prompt
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"prompt {row}: expected a list of token ids") from error
        if (self._tokens < 0).any():
            raise InputError("a prompt holds a negative token id")

    def reserve(self, more: int) -> None:
        """Make room for so many further tokens."""
        room = np.empty((self.batch, self.width + more), dtype=np.int64)
        room[:, : self.width] = self._tokens
        self._tokens = room

    @property
    def capacity(self) -> int:
        """Tokens a row has room for."""
        return self._tokens.shape[1]

    @property
    def so_far(self) -> Tokens:
        """(batch, length), a view."""
        return self._tokens[:, : self.length]

    def append(self, tokens: Tokens) -> None:
        """One more token for every row."""
        self._tokens[:, self.length] = tokens
        self.length += 1


class _Run:
    """The buffers and bindings of one generation."""

    def __init__(
        self,
        prefill: Session,
        decode: Session,
        rows: _Rows,
        past: Sequence[Tensor],
        cross: Sequence[Tensor],
        encoded: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        self._rows = rows
        self._prefill = prefill
        self._step: Binding = decode.binding()
        self._takes = {tensor.name: tensor for tensor in decode.inputs}
        self._cross = cross
        self._encoded = encoded
        self._in_place = all(tensor.shape[2:3] == (_CAPACITY,) for tensor in past)
        room = rows.width if self._in_place else rows.capacity
        self._layers = [_Layer(tensor, rows.batch, room, single=self._in_place) for tensor in past]
        self._mask = np.ones((rows.batch, rows.capacity), dtype=np.int64)
        self._mask[:, : rows.width] = np.arange(rows.width) >= rows.starts[:, None]

    def prefill(self, logits: Tensor, wanted: int) -> Scores:
        """Run the prompts; the logits behind the last ``wanted`` tokens, (batch, wanted, vocabulary)."""
        rows, graph = self._rows, self._prefill.binding()
        mask = self._mask[:, : rows.width]
        feeds: dict[str, npt.NDArray[Any]] = dict(self._encoded) | {
            "input_ids": rows.so_far,
            "attention_mask": mask,
            "position_ids": np.maximum(mask.cumsum(axis=1) - 1, 0),
            _KEPT: np.tile(np.arange(rows.width - wanted, rows.width), (rows.batch, 1)),
        }
        for tensor in self._prefill.inputs:
            if tensor.name not in feeds:
                raise InputError(f"the prefill graph also takes {tensor.name}")
            _bind(graph, tensor, feeds[tensor.name])
        for layer in self._layers:
            graph.output(layer.present, layer.front, layer.shape(rows.width))
        places = wanted if any(tensor.name == _KEPT for tensor in self._prefill.inputs) else rows.width
        shape = (rows.batch, places, int(logits.shape[-1]))
        answer = Buffer(logits.dtype, math.prod(shape))
        graph.output(_LOGITS, answer, shape)
        self._bind_cross(graph)
        graph.run()
        self._bind_step(logits)
        return np.ascontiguousarray(answer.view(*shape)[:, -wanted:], dtype=np.float32)

    def decode(self) -> Scores:
        """Run the token appended last; the logits behind it, (batch, vocabulary), valid until the next run."""
        rows, step = self._rows, self._step
        self._ids.view(rows.batch)[:] = rows.so_far[:, -1]
        total = rows.length
        if self._positions is not None:
            self._positions.view(rows.batch)[:] = total - 1 - rows.starts
        if self._masks is not None:
            if rows.batch > 1:  # a row of another length lies elsewhere
                self._masks.view(rows.batch, total)[:] = self._mask[:, :total]
            step.input("attention_mask", self._masks, (rows.batch, total))
        for layer in self._layers if not self._in_place else ():
            step.input(layer.past, layer.front, layer.shape(total - 1))
            step.output(layer.present, layer.back, layer.shape(total))
        step.run()
        for layer in self._layers:
            layer.swap()
        return self._answer.view(rows.batch, self._answer.array.size // rows.batch).astype(np.float32, copy=False)

    def _bind_step(self, logits: Tensor) -> None:
        rows, step, vocabulary = self._rows, self._step, int(logits.shape[-1])
        self._ids = Buffer(self._takes["input_ids"].dtype, rows.batch)
        step.input("input_ids", self._ids, (rows.batch, 1))
        self._positions = None
        if (positions := self._takes.get("position_ids")) is not None:
            self._positions = Buffer(positions.dtype, rows.batch)
            step.input("position_ids", self._positions, (rows.batch, 1))
        self._masks = None
        if (mask := self._takes.get("attention_mask")) is not None:
            self._masks = Buffer(mask.dtype, self._mask.size)
            self._masks.view(*self._mask.shape)[:] = self._mask
        self._answer = Buffer(logits.dtype, rows.batch * vocabulary)
        step.output(_LOGITS, self._answer, (rows.batch, 1, vocabulary))
        for layer in self._layers if self._in_place else ():
            layer.spread(rows.width, rows.capacity)
            shape = layer.shape(rows.capacity)
            step.input(layer.past, layer.front, shape)
            step.output(layer.present, layer.front, shape)
        for name, array in self._encoded.items():
            if name in self._takes:
                _bind(step, self._takes[name], array)

    def _bind_cross(self, graph: Binding) -> None:
        # Made once from the encoder's states, read at every step.
        for tensor in self._cross:
            states = self._encoded.get("encoder_hidden_states")
            if states is None:
                raise InputError("this model needs the encoder's states")
            layer = _Layer(tensor, self._rows.batch, states.shape[1], single=True)
            shape = layer.shape(states.shape[1])
            graph.output(tensor.name, layer.front, shape)
            self._step.input(tensor.name, layer.front, shape)


class _Layer:
    """One cache tensor: what was (front) and what is being made (back)."""

    def __init__(self, past: Tensor, batch: int, capacity: int, *, single: bool = False) -> None:
        self.past = past.name
        self.present = _PRESENT + past.name.removeprefix(_PAST)
        self._batch = batch
        self._sizes = past.shape[1:]
        elements = math.prod(self.shape(capacity))
        self.front = Buffer(past.dtype, elements)
        self.back = self.front if single else Buffer(past.dtype, elements)

    def shape(self, length: int) -> tuple[int, ...]:
        """The tensor's shape when it holds so many positions."""
        return (self._batch, *(length if isinstance(size, str) else size for size in self._sizes))

    def spread(self, length: int, capacity: int) -> None:
        """Lay the first ``length`` positions out in one buffer with room for ``capacity`` of them."""
        wide = Buffer(self.front.dtype, math.prod(self.shape(capacity)))
        wide.view(*self.shape(capacity))[:, :, :length] = self.front.view(*self.shape(length))
        self.front = self.back = wide

    def swap(self) -> None:
        """What was made is what was."""
        self.front, self.back = self.back, self.front


def _bind(graph: Binding, tensor: Tensor, array: npt.NDArray[Any]) -> None:
    buffer = Buffer(tensor.dtype, array.size)
    buffer.view(*array.shape)[:] = array
    graph.input(tensor.name, buffer, array.shape)


def _check_pair(prefill: Session, decode: Session, past: Sequence[Tensor], cross: Sequence[Tensor]) -> Tensor:
    made = {tensor.name: tensor for tensor in prefill.outputs}
    kept = {tensor.name: tensor for tensor in decode.outputs}
    for tensor in (*past, *cross):
        free = [size for size in tensor.shape[1:] if isinstance(size, str)]
        if len(free) > 1:
            raise IntegrityError(f"edgekit.json: decode: {tensor.name}: more than one free size in {tensor.shape}")
    for outputs, component in ((made, "prefill"), (kept, "decode")):
        wanted = {_PRESENT + tensor.name.removeprefix(_PAST) for tensor in past}
        wanted |= {tensor.name for tensor in cross} if component == "prefill" else set()
        if set(outputs) != wanted | {_LOGITS}:
            raise IntegrityError(
                f"edgekit.json: {component}: its outputs are {', '.join(sorted(outputs))}, "
                f"expected {', '.join(sorted(wanted | {_LOGITS}))}"
            )
        if not isinstance(outputs[_LOGITS].shape[-1], int):
            raise IntegrityError(f"edgekit.json: {component}: logits: the last size is free, expected a number")
    return made[_LOGITS]
