"""Texts and pairs of texts as token ids, with what leads an answer back to its characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.errors import HostError, InputError, IntegrityError, UsageError
from edgekit.runtime.encoded import Bare, Encoded, Frame, Stride, frame_of, window_spans
from edgekit.runtime.text import CHARACTERS_PER_TOKEN, checked_text, cut_text, guarded, open_tokenizer
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.text import TextSettings

if TYPE_CHECKING:
    from tokenizers import Encoding

Truncation: TypeAlias = Literal["longest_first", "only_first", "only_second"]

MAX_CHARACTERS: Final = 4 * 1024 * 1024  # of a text that is read in windows


class PairEncoder:
    """Turns texts and pairs into windows of tokens, as transformers' fast tokenizers do.

    tokenizers keeps its truncation as a state inside the tokenizer. Here special tokens are put around bare tokens
    instead, as the tokenizer does it for a trial text, so that threads may share an encoder.

    Args:
        data: The verified bytes of ``tokenizer.json``.
        settings: The manifest's.

    Raises:
        IntegrityError: The tokenizer and the settings do not work together.
        HostError: The tokenizer arranges pairs in a way this edgekit does not know.
    """

    def __init__(self, data: bytes | bytearray | memoryview, settings: TextSettings) -> None:
        self.max_length = settings.max_length
        self._file = settings.tokenizer
        self._tokenizer = open_tokenizer(data, settings)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(
        self, text: str, text_pair: str | None = None, *, truncation: Truncation = "longest_first", where: str = ""
    ) -> Encoded:
        """The tokens of one text or pair, at most ``max_length``, the end of the longer one dropped first.

        A text beyond ``max_length * 64`` characters is cut before it is tokenized, as
        :class:`~edgekit.runtime.text.TextEncoder` does.

        Args:
            text: The text.
            text_pair: What stands beside it.
            truncation: What is shortened when both are too long together.
            where: What errors begin with, such as the input's index.

        Raises:
            InputError: An item is no text, holds a lone surrogate, or leaves no room for the one that is kept whole.
        """
        bound = self.max_length * CHARACTERS_PER_TOKEN
        named = _named(where, text, text_pair)
        heads = [checked_text(name, item, bound) for name, item in named]
        pieces = [self._pieces(head) for head in heads]
        lengths = [len(piece) for piece in pieces]
        frame = self._pair if len(pieces) == 2 else self._single
        shares = _shares(where, lengths, self._room(frame, self.max_length), truncation)
        cut = any(len(head) < len(whole) for head, (_, whole) in zip(heads, named, strict=True))
        return frame.around(pieces, [(0, share) for share in shares], truncated=cut or shares != lengths)

    def windows(
        self, text: str, text_pair: str | None = None, *, max_length: int | None = None, stride: Stride, where: str = ""
    ) -> list[Encoded]:
        """All tokens of a text, or of what stands beside it, in windows that overlap; nothing is dropped.

        Args:
            text: Split into windows where there is no pair, else kept whole in each of them.
            text_pair: Split into windows.
            max_length: Tokens of a window, special ones included; None takes the model's.
            stride: Tokens that neighbours share.
            where: What errors begin with, such as the input's index.

        Raises:
            InputError: An item is no text, holds a lone surrogate, is longer than :data:`MAX_CHARACTERS`, or
                ``text`` leaves less room for its pair than ``stride``.
            UsageError: ``max_length`` or ``stride`` makes no sense.
        """
        limit = self.max_length if max_length is None else max_length
        if not 1 <= limit <= self.max_length:
            raise UsageError(f"max_length {limit}: expected 1 to {self.max_length}")
        named = _named(where, text, text_pair)
        texts = [checked_text(name, item) for name, item in named]
        for (name, _), item in zip(named, texts, strict=True):
            if len(item) > MAX_CHARACTERS:
                raise InputError(
                    f"{name}: {len(item)} characters, at most {MAX_CHARACTERS} are read in windows",
                    hint="split it into parts",
                )
        pieces = [self._pieces(item) for item in texts]
        frame = self._pair if len(pieces) == 2 else self._single
        if max_length is not None and limit <= frame.added:
            raise UsageError(f"max_length {limit}: leaves no room beside {frame.added} special tokens")
        kept = len(pieces[0]) if len(pieces) == 2 else 0
        room = self._room(frame, limit) - kept
        if room < 1:
            raise InputError(f"{where}{kept} tokens of the text leave no room for what stands beside it within {limit}")
        shared = room // 2 if stride.narrows and stride.tokens >= room else stride.tokens
        if not 0 <= shared < room:
            raise UsageError(f"stride {shared}: expected 0 to {room - 1}, as a window has room for {room} tokens")
        whole = [(0, kept)] * (len(pieces) - 1)
        spans = window_spans(len(pieces[-1]), room, shared)
        return [frame.around(pieces, [*whole, span], truncated=False) for span in spans]

    def shorten(self, text: str, tokens: int, *, name: str = "text") -> str:
        """The text up to the last character of its token number ``tokens``.

        Raises:
            InputError: It is no text.
        """
        head = cut_text(checked_text(name, text), max(tokens, 1) * CHARACTERS_PER_TOKEN)
        offsets = self._pieces(head).offsets
        return head if len(offsets) <= tokens else head[: offsets[tokens - 1, 1]] if tokens > 0 else ""

    def first_token(self, text: str) -> int | None:
        """The id of a token of that name, or of the text's first token, without special ones; None for none."""
        found = self.token_id(text)
        if found is None:
            ids = self._pieces(checked_text("text", text)).ids
            found = int(ids[0]) if len(ids) else None
        return found

    def token_id(self, token: str) -> int | None:
        """The id of a token of the vocabulary, None where there is none."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def token(self, number: int) -> str:
        """The token of an id.

        Raises:
            IntegrityError: There is none.
        """
        token = self._tokenizer.id_to_token(number)
        if token is None:
            raise IntegrityError(f"the tokenizer has no token {number}", hint="the bundle is damaged; get it again")
        return str(token)

    def join(self, tokens: Sequence[str]) -> str:
        """Tokens put together into text by the tokenizer's decoder."""
        decoder = self._tokenizer.decoder
        if decoder is None:
            return " ".join(tokens)
        return str(guarded(lambda: decoder.decode(list(tokens)), InputError, "tokens"))

    def decode(self, ids: Iterable[int], *, skip_special: bool) -> str:
        """Text of token ids, with or without special tokens."""
        numbers = [int(number) for number in ids]
        return guarded(
            lambda: str(self._tokenizer.decode(numbers, skip_special_tokens=skip_special)), InputError, "tokens"
        )

    @cached_property
    def marks_subwords(self) -> bool:
        """Whether tokens inside words carry a mark (``##``), so that the tokenizer knows what a word is."""
        return bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))

    def stack(self, encoded: Sequence[Encoded], inputs: Iterable[Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Arrays for those of a graph's inputs that come from text.

        Args:
            encoded: At least one, all of equally many tokens (docs/decisions/0005), at least one each.
            inputs: The graph's inputs.

        Returns:
            (batch, tokens) by input name, of the input's dtype.

        Raises:
            HostError: The graph asks for something that is not made from text.
        """
        ids = np.stack([item.ids for item in encoded])
        made: dict[str, Any] = {"input_ids": lambda: ids}
        made["attention_mask"] = lambda: np.ones_like(ids)
        made["token_type_ids"] = lambda: np.stack([item.type_ids for item in encoded])
        made["position_ids"] = lambda: np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        feeds = {}
        for tensor in inputs:
            if tensor.name not in made:
                raise HostError(f"edgekit.json: inputs: {tensor.name} is none that this edgekit makes from text")
            feeds[tensor.name] = np.ascontiguousarray(made[tensor.name](), dtype=tensor.dtype)
        return feeds

    @cached_property
    def _single(self) -> Frame:
        return frame_of(1, self._special_around(self._trial), self._file)

    @cached_property
    def _pair(self) -> Frame:
        return frame_of(2, self._special_around(self._trial, self._trial), self._file)

    @cached_property
    def _trial(self) -> str:
        """A text with at least one token."""
        size = min(self._tokenizer.get_vocab_size(), 1000)
        for text in ("a", *(self._tokenizer.id_to_token(number) for number in range(size))):
            if text and len(self._pieces(text)):
                return str(text)
        raise IntegrityError(f"{self._file}: gives no tokens for any text")

    def _special_around(self, text: str, text_pair: str | None = None) -> Encoding:
        return guarded(lambda: self._tokenizer.encode(text, text_pair), IntegrityError, self._file)

    def _room(self, frame: Frame, limit: int) -> int:
        if limit <= frame.added:
            raise IntegrityError(
                f"edgekit.json: text: max_length {limit} leaves no room beside {frame.added} special tokens"
            )
        return limit - frame.added

    def _pieces(self, text: str) -> Bare:
        return Bare(guarded(lambda: self._tokenizer.encode(text, add_special_tokens=False), InputError, "text"))


def group_by_length(encoded: Sequence[Encoded], batch_size: int) -> list[list[int]]:
    """Indices of what may share a batch: equally many tokens, at most ``batch_size`` of them.

    Raises:
        UsageError: ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size {batch_size}: expected at least 1")
    by_length: dict[int, list[int]] = {}
    for index, item in enumerate(encoded):
        by_length.setdefault(len(item), []).append(index)
    return [
        rows[start : start + batch_size] for rows in by_length.values() for start in range(0, len(rows), batch_size)
    ]


def _named(where: str, text: str, text_pair: str | None) -> list[tuple[str, Any]]:
    first = (f"{where}text", text)
    return [first] if text_pair is None else [first, (f"{where}text_pair", text_pair)]


def _shares(where: str, lengths: Sequence[int], room: int, truncation: Truncation) -> list[int]:
    """How many tokens of each text are kept, as tokenizers' own truncation of pairs decides it."""
    excess = sum(lengths) - room
    if excess <= 0:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    if truncation == "longest_first":
        first, second = lengths
        half = room // 2
        if min(first, second) > half:
            return [half, room - half] if first <= second else [room - half, half]
        return [first, room - first] if first <= second else [room - second, second]
    shortened = 0 if truncation == "only_first" else 1
    if lengths[shortened] <= excess:
        raise InputError(
            f"{where}the {'text_pair' if shortened == 0 else 'text'} alone has {lengths[1 - shortened]} tokens, "
            f"which leaves no room for what stands beside it within {room}"
        )
    shares = list(lengths)
    shares[shortened] -= excess
    return shares
