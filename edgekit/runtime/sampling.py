"""From logits to the next token: penalties, bans, and greedy or random choice, in numpy.

Every rule has the meaning, and the rules have the order, of the logits processors that
``transformers.GenerationMixin`` builds from a ``GenerationConfig``; a test compares them.
One difference is wanted: a row's own tokens count and never its padding, so that an answer does not
depend on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgekit.errors import HostError, UsageError
from edgekit.spec.settings.generation import GenerationSettings

Scores = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]

Rule = Callable[[Scores, Tokens], None]
"""Bans tokens in place: given scores (batch, vocabulary) and what was generated so far (batch, tokens)."""

DEFAULT_NEW_TOKENS: Final = 256  # as transformers' text-generation pipeline has it
MAX_NEW_TOKENS: Final = 1 << 24
MAX_STOP_STRINGS: Final = 64
MAX_STOP_LENGTH: Final = 1024

_BANNED: Final = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to go on from a prompt. The names are those of ``transformers.GenerationConfig``.

    Attributes:
        max_new_tokens: Tokens generated at most.
        min_new_tokens: No end of sequence before so many were generated.
        min_length: The same, the prompt's tokens included.
        do_sample: Draw from the distribution; otherwise the most probable token is taken.
        temperature: Divides the logits when drawing; below 1 sharpens.
        top_k: Draw among the k most probable tokens; 0 for all.
        top_p: Draw among the fewest tokens whose probabilities sum to at least this.
        min_p: Draw among tokens at least this share as probable as the most probable one.
        repetition_penalty: Divides positive and multiplies negative logits of tokens seen before (Keskar et al., CTRL).
        no_repeat_ngram_size: No run of so many tokens comes twice; 0 for no such rule.
        seed: Of the random generator; None draws differently every time.
        stop_strings: Texts that end generation once they appear. They stay in the answer.
        eos_ids: Tokens that end a sequence.
        forced_bos_id: The first generated token, where the decoder begins with one token.
        forced_eos_ids: The choices for the last of ``max_new_tokens``.
        suppress_ids: Tokens never generated.
        begin_suppress_ids: Tokens never generated first.

    Raises:
        UsageError: A value is of the wrong type or outside its range.
    """

    max_new_tokens: int = DEFAULT_NEW_TOKENS
    min_new_tokens: int = 0
    min_length: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int | None = None
    stop_strings: tuple[str, ...] = ()
    eos_ids: tuple[int, ...] = ()
    forced_bos_id: int | None = None
    forced_eos_ids: tuple[int, ...] = ()
    suppress_ids: tuple[int, ...] = ()
    begin_suppress_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: GenerationSettings, changes: Mapping[str, Any], *, prompt_length: int) -> Self:
        """What a call asks for, else what the bundle says, else the defaults.

        Args:
            settings: The bundle's.
            changes: The call's, by name; None stands for what was not asked for.
            prompt_length: Tokens that count towards the bundle's ``max_length``.

        Raises:
            UsageError: A value is of the wrong type or outside its range.
        """
        names = {field.name for field in fields(cls)} & {field.name for field in fields(settings)}
        chosen = {name: getattr(settings, name) for name in names}
        if settings.max_new_tokens is None:
            whole = settings.max_length
            chosen["max_new_tokens"] = DEFAULT_NEW_TOKENS if whole is None else max(1, whole - prompt_length)
        if not settings.temperature:  # some configurations write 0 for "takes the likeliest"
            chosen["temperature"] = 1.0
        chosen |= {name: value for name, value in changes.items() if value is not None}
        stops = chosen.get("stop_strings", ())
        chosen["stop_strings"] = (stops,) if isinstance(stops, str) else tuple(stops)
        return cls(**chosen)

    def __post_init__(self) -> None:
        _check_integer("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)
        for name in ("min_new_tokens", "min_length", "top_k", "no_repeat_ngram_size"):
            _check_integer(name, getattr(self, name), 0, MAX_NEW_TOKENS)
        if not isinstance(self.do_sample, bool):
            raise UsageError(f"do_sample {self.do_sample!r}: expected True or False")
        _check_number("temperature", self.temperature, 1e-4, 1e4)
        _check_number("top_p", self.top_p, 0, 1)
        _check_number("min_p", self.min_p, 0, 1)
        _check_number("repetition_penalty", self.repetition_penalty, 1e-4, 1e4)
        if self.seed is not None:
            _check_integer("seed", self.seed, 0, 2**64 - 1)
        _check_stop_strings(self.stop_strings)
        for name in ("eos_ids", "forced_eos_ids", "suppress_ids", "begin_suppress_ids"):
            for token in getattr(self, name):
                _check_integer(name, token, 0, 2**31 - 1)
        if self.forced_bos_id is not None:
            _check_integer("forced_bos_id", self.forced_bos_id, 0, 2**31 - 1)

    @property
    def changes_scores(self) -> bool:
        """Whether a rule may change the logits before the likeliest token is taken."""
        return (
            self.repetition_penalty != 1
            or max(self.no_repeat_ngram_size, self.min_new_tokens, self.min_length) > 0
            or self.forced_bos_id is not None
            or bool(self.forced_eos_ids or self.suppress_ids or self.begin_suppress_ids)
        )


class Sampler:
    """Chooses the next token of every row. One for each generation; it holds the random state.

    Args:
        options: The rules.
        prompt_length: Tokens the decoder starts with, padding included.
        vocabulary: Length of a row of logits.
        rule: Of the task's own, applied after those of the options.

    Raises:
        UsageError: A forced id is no token of the vocabulary.
    """

    def __init__(
        self, options: GenerationOptions, *, prompt_length: int, vocabulary: int, rule: Rule | None = None
    ) -> None:
        self._options = options
        self._rule = rule
        self._prompt_length = prompt_length
        self._random = np.random.default_rng(options.seed)
        self._eos = _known(options.eos_ids, vocabulary)
        self._never = _known(options.suppress_ids, vocabulary)
        self._not_first = _known(options.begin_suppress_ids, vocabulary)
        first = () if options.forced_bos_id is None or prompt_length != 1 else (options.forced_bos_id,)
        self._first = _forced("forced_bos_id", first, vocabulary)
        self._last = _forced("forced_eos_ids", options.forced_eos_ids, vocabulary)
        # A forced first token puts off what "first" means for the tokens not to begin with.
        self._begin = 1 if prompt_length <= 1 and options.forced_bos_id is not None else 0
        self._plain = rule is None and not options.do_sample and not options.changes_scores

    def choose(self, logits: Scores, tokens: Tokens, starts: Tokens) -> Tokens:
        """The next token of every row.

        Args:
            logits: (batch, vocabulary); not changed.
            tokens: (batch, length) of what each row holds so far, padded on the left.
            starts: (batch,) where each row's own tokens begin.

        Returns:
            (batch,) int64.

        Raises:
            HostError: The model answered with something that is no number.
        """
        scores = logits if self._plain else self.scores(logits, tokens, starts)
        if self._options.do_sample:
            return self._draw(scores)
        chosen: Tokens = scores.argmax(axis=-1)
        best = scores[np.arange(len(scores)), chosen]
        if not np.isfinite(best).all():
            raise _not_finite()
        return chosen

    def scores(self, logits: Scores, tokens: Tokens, starts: Tokens) -> Scores:
        """Logits after every rule, banned tokens at minus infinity; arguments as for :meth:`choose`."""
        scores = logits.astype(np.float32, copy=True)
        self._penalize(scores, tokens, starts)
        generated = tokens.shape[1] - self._prompt_length
        if generated == 0 and self._first.size:
            _force(scores, self._first)
        if generated == self._options.max_new_tokens - 1 and self._last.size:
            _force(scores, self._last)
        scores[:, self._never] = _BANNED
        if generated == self._begin:
            scores[:, self._not_first] = _BANNED
        if self._rule is not None:
            self._rule(scores, tokens[:, self._prompt_length :])
        if self._options.do_sample:
            _narrow(scores, self._options)
        return scores

    def _penalize(self, scores: Scores, tokens: Tokens, starts: Tokens) -> None:
        options, generated = self._options, tokens.shape[1] - self._prompt_length
        for row, start in enumerate(starts):
            own = tokens[row, start:]
            if options.repetition_penalty != 1:
                penalize_repetition(scores[row], own, options.repetition_penalty)
            if options.no_repeat_ngram_size:
                ban_repeated_ngrams(scores[row], own, options.no_repeat_ngram_size)
            if len(own) < options.min_length or generated < options.min_new_tokens:
                scores[row, self._eos] = _BANNED

    def _draw(self, scores: Scores) -> Tokens:
        sums = np.cumsum(softmax(scores), axis=-1, dtype=np.float64)
        if not np.isfinite(sums[:, -1]).all():
            raise _not_finite()
        points = self._random.random(len(sums)) * sums[:, -1]
        # side="right": a token of probability zero is never drawn, not even at the point 0.
        drawn = [int(np.searchsorted(row, point, side="right")) for row, point in zip(sums, points, strict=True)]
        return np.array(drawn, dtype=np.int64)


def penalize_repetition(scores: Scores, own: Tokens, penalty: float) -> None:
    """Make tokens seen before less likely, in place (Keskar et al. 2019, CTRL, section 4.1).

    Args:
        scores: (vocabulary,).
        own: (length,) tokens of the row; those outside the vocabulary do not count.
        penalty: Above 1 discourages.
    """
    seen = own[own < len(scores)]
    values = scores[seen]
    scores[seen] = np.where(values < 0, values * np.float32(penalty), values / np.float32(penalty))


def ban_repeated_ngrams(scores: Scores, own: Tokens, size: int) -> None:
    """Ban, in place, every token that would complete a run of ``size`` tokens that is there already."""
    if len(own) < size:
        return
    runs = np.lib.stride_tricks.sliding_window_view(own, size)
    same = (runs[:, :-1] == own[len(own) + 1 - size :]).all(axis=1)
    banned = runs[same, -1]
    scores[banned[banned < len(scores)]] = _BANNED


def keep_top_k(scores: Scores, count: int) -> None:
    """Ban, in place, what is less likely than the ``count``-th; ties with it stay."""
    least = np.partition(scores, -count, axis=-1)[:, -count]
    scores[scores < least[:, None]] = _BANNED


def keep_top_p(scores: Scores, mass: float) -> None:
    """Keep, in place, the fewest tokens that hold ``mass`` (Holtzman et al. 2019, nucleus sampling)."""
    order = np.argsort(scores, axis=-1, kind="stable")
    ascending = softmax(np.take_along_axis(scores, order, axis=-1))
    sums = np.cumsum(ascending, axis=-1, dtype=np.float64).astype(np.float32)
    unlikely = sums <= np.float32(1 - mass)
    unlikely[:, -1] = False
    banned = np.zeros_like(unlikely)
    np.put_along_axis(banned, order, unlikely, axis=-1)
    scores[banned] = _BANNED


def keep_min_p(scores: Scores, share: float) -> None:
    """Ban, in place, what is less than ``share`` as likely as the most likely token."""
    probabilities = softmax(scores)
    scores[probabilities < np.float32(share) * probabilities.max(axis=-1, keepdims=True)] = _BANNED


def softmax(scores: Scores) -> Scores:
    """Probabilities over the last axis, float32."""
    with np.errstate(invalid="ignore"):  # minus infinity everywhere gives NaN, which the caller looks for
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _narrow(scores: Scores, options: GenerationOptions) -> None:
    if options.temperature != 1:
        scores /= np.float32(options.temperature)
    if 0 < options.top_k < scores.shape[-1]:
        keep_top_k(scores, options.top_k)
    if options.top_p < 1:
        keep_top_p(scores, options.top_p)
    if options.min_p > 0:
        keep_min_p(scores, options.min_p)


def _force(scores: Scores, ids: Tokens) -> None:
    scores[:] = _BANNED
    scores[:, ids] = 0


def _known(ids: Sequence[int], vocabulary: int) -> Tokens:
    return np.array([token for token in ids if token < vocabulary], dtype=np.int64)


def _forced(name: str, ids: Sequence[int], vocabulary: int) -> Tokens:
    if any(token >= vocabulary for token in ids):
        raise UsageError(f"{name} {max(ids)}: the model has {vocabulary} tokens")
    return np.array(ids, dtype=np.int64)


def _not_finite() -> HostError:
    return HostError(
        "the model's logits are not finite, or every token is banned",
        hint="a model that overflows in half precision needs its float32 variant",
    )


def _check_integer(name: str, value: Any, minimum: int, maximum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not minimum <= value <= maximum:
        raise UsageError(f"{name} {value!r}: expected an integer, {minimum} to {maximum}")


def _check_number(name: str, value: Any, minimum: float, maximum: float) -> None:
    number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not minimum <= value <= maximum:
        raise UsageError(f"{name} {value!r}: expected a number, {minimum:g} to {maximum:g}")


def _check_stop_strings(strings: Any) -> None:
    if not isinstance(strings, tuple) or len(strings) > MAX_STOP_STRINGS:
        raise UsageError(f"stop_strings: expected at most {MAX_STOP_STRINGS} texts, got {strings!r:.100}")
    for text in strings:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_LENGTH:
            raise UsageError(f"stop_strings: {text!r:.100}: expected a text of 1 to {MAX_STOP_LENGTH} characters")
