"""The one border to tokenizers: from text to padded arrays of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, HostError, InputError, IntegrityError
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.text import TextSettings

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CHARACTERS_PER_TOKEN: Final = 64

_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_DTYPES: Final = ("int64", "int32")
_Result = TypeVar("_Result")


class TextEncoder:
    """Turns texts into token ids as the bundle's settings say.

    Padding and truncation written inside ``tokenizer.json`` are switched off; the manifest's count.

    A text longer than ``max_length * 64`` characters is cut before it is tokenized, behind the last white space
    within that bound, so that a huge text takes bounded time. Where its tokens average less than 64 characters, white
    space included, the first ``max_length`` tokens are those of the whole text.

    Args:
        data: The verified bytes of ``tokenizer.json``.
        settings: The manifest's.

    Attributes:
        max_length: Tokens of a text at most, special ones included.

    Raises:
        IntegrityError: The tokenizer and the settings do not work together.
        HostError: The tokenizer does something this edgekit does not know.
    """

    def __init__(self, data: bytes | bytearray | memoryview, settings: TextSettings) -> None:
        self.max_length = settings.max_length
        self._settings = settings
        self._longest = settings.max_length * CHARACTERS_PER_TOKEN
        self._tokenizer = open_tokenizer(data, settings)
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if settings.max_length <= special:
            raise IntegrityError(
                f"edgekit.json: text: max_length {settings.max_length} leaves no room beside {special} special tokens"
            )
        if self._tokenizer.id_to_token(settings.pad_id) is None:
            raise IntegrityError(f"edgekit.json: text: pad_id {settings.pad_id} is no token of {settings.tokenizer}")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_length)
        trial = guarded(lambda: self._tokenizer.encode("a"), IntegrityError, settings.tokenizer)
        if any(trial.type_ids):
            raise HostError(f"{settings.tokenizer}: token types other than 0 need a newer edgekit")

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself, for turning ids back into text."""
        return self._tokenizer

    def encode(self, texts: Iterable[str], *, special: bool = True) -> list[list[int]]:
        """Token ids of each text, at most ``max_length``.

        Args:
            texts: The texts.
            special: Whether special tokens are added around them.

        Raises:
            InputError: An item is no text, or holds a lone surrogate; the message has its index.
        """
        return [self._encode(index, text, special=special) for index, text in enumerate(texts)]

    def whole(self, index: int, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text of which nothing may be cut, such as a prompt.

        Args:
            index: Its place among several, for errors.
            text: The text.
            special: Whether special tokens are added around it.

        Raises:
            InputError: It has more than ``max_length`` tokens, is no text, or holds a lone surrogate.
        """
        checked_text(f"text {index}", text)
        too_long = len(text) > self._longest
        encoding = None if too_long else self._tokens(index, text, special=special)
        if encoding is None or encoding.overflowing:
            raise InputError(
                f"text {index}: {len(text)} characters are more than {self._settings.max_length} tokens, "
                "which is all that this model takes",
                hint="shorten the text",
            )
        return list(encoding.ids)

    def batch(self, ids: Sequence[Sequence[int]], inputs: Iterable[Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Arrays for those of a graph's inputs that come from text, padded on the right to the longest.

        Args:
            ids: At least one list of token ids.
            inputs: The graph's inputs, which :func:`check_inputs` knows.

        Returns:
            (batch, sequence) by input name, of the input's dtype.
        """
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        places = np.arange(max(1, int(lengths.max())), dtype=np.int64)
        mask = places < lengths[:, None]
        tokens = np.full(mask.shape, self._settings.pad_id, dtype=np.int64)
        tokens[mask] = [token for row in ids for token in row]
        made = {
            "input_ids": tokens,
            "attention_mask": mask,
            "token_type_ids": np.where(mask, 0, self._settings.pad_type_id),
            "position_ids": np.broadcast_to(places, mask.shape),
        }
        return {tensor.name: np.ascontiguousarray(made[tensor.name], dtype=tensor.dtype) for tensor in inputs}

    def _encode(self, index: int, text: str, *, special: bool) -> list[int]:
        return list(self._tokens(index, checked_text(f"text {index}", text, self._longest), special=special).ids)

    def _tokens(self, index: int, text: str, *, special: bool) -> Encoding:
        return guarded(lambda: self._tokenizer.encode(text, add_special_tokens=special), InputError, f"text {index}")


class TokenCounter:
    """Counts the tokens of whole texts, special ones included, whatever the model would cut.

    Args:
        data: The verified bytes of ``tokenizer.json``.
        settings: The manifest's.

    Raises:
        IntegrityError: It is no tokenizer.
    """

    def __init__(self, data: bytes | bytearray | memoryview, settings: TextSettings) -> None:
        self._tokenizer = open_tokenizer(data, settings)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def count(self, text: str) -> int:
        """Tokens of a text.

        Raises:
            InputError: It is no text, or holds a lone surrogate.
        """
        whole = checked_text("text", text)
        return len(guarded(lambda: self._tokenizer.encode(whole), InputError, "text").ids)


def open_tokenizer(data: bytes | bytearray | memoryview, settings: TextSettings) -> Tokenizer:
    """A bundle's tokenizer.

    Args:
        data: The verified bytes of ``tokenizer.json``.
        settings: The manifest's.

    Raises:
        IntegrityError: It is no tokenizer.
    """
    # Not at the top: importing this module stays cheap for programs that only read a bundle.
    from tokenizers import Tokenizer

    return guarded(lambda: Tokenizer.from_buffer(bytes(data)), IntegrityError, settings.tokenizer)


def checked_text(name: str, text: Any, longest: int | None = None) -> str:
    """A text that tokenizers can read: a ``str`` without lone surrogates.

    Args:
        name: What to call it in errors.
        text: What was given.
        longest: Cut it with :func:`cut_text` first, so that a huge text is not read to its end.

    Raises:
        InputError: It is no such text.
    """
    if not isinstance(text, str):
        raise InputError(f"{name}: expected a str, got {type(text).__name__}")
    head: str = text if longest is None else cut_text(text, longest)
    if not head.isascii():
        try:
            head.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{name}: character {error.start} is a lone surrogate, which is no text",
                hint="decode the source with errors='replace'",
            ) from error
    return head


def cut_text(text: str, longest: int) -> str:
    """The text, cut behind the last white space within ``longest`` characters where it is longer."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    if text[longest].isspace():
        return head
    last = next((place for place in range(len(head) - 1, -1, -1) if head[place].isspace()), -1)
    return head[:last] if last > 0 else head


def texts_of(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The field ``text`` of each input.

    Raises:
        InputError: An input has no such field.
    """
    for index, item in enumerate(inputs):
        if "text" not in item:
            raise InputError(f"input {index}: has no field 'text', only {', '.join(item) or 'none'}")
    return [item["text"] for item in inputs]


def equal_lengths(ids: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Batches of row numbers whose rows have one length: what stands beside a text then cannot pad it.

    Dynamic int8 takes one scale over a whole batch, padding included (docs/decisions/0005).
    """
    by_length: dict[int, list[int]] = {}
    for row, row_ids in enumerate(ids):
        by_length.setdefault(len(row_ids), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]


def check_inputs(inputs: Iterable[Tensor]) -> None:
    """Refuse a graph with an input that is not made from text here.

    Raises:
        HostError: Naming the input.
    """
    for tensor in inputs:
        if tensor.name not in _INPUTS or tensor.dtype not in _DTYPES:
            raise HostError(
                f"edgekit.json: inputs: {tensor.name} ({tensor.dtype}) is none that this edgekit makes from text",
                hint="it needs a newer edgekit: pip install --upgrade edgekit",
            )


def guarded(call: Callable[[], _Result], wrapper: type[EdgekitError], what: str) -> _Result:
    """Call into tokenizers; what it raises, panics included, becomes ``wrapper``."""
    try:
        return call()
    except Exception as error:
        raise wrapper(f"{what}: the tokenizer failed: {_reason(error)}") from error
    except BaseException as error:
        # A panic in tokenizers' Rust is not an Exception
        if type(error).__name__ != "PanicException":
            raise
        raise wrapper(f"{what}: the tokenizer failed: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
