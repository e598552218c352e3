"""From token ids back to text, piece by piece: what was given out never changes and is never half a character.

A piece is final once no later token can change it. How far that reaches depends on the tokenizer's decoder:
byte-level tokens are bytes, whose characters may span tokens; a run of byte-fallback tokens (``<0xE2>``) is text only
when it ends; others see at most the token before them.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgekit.errors import IntegrityError
from edgekit.runtime.text import guarded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WHAT: Final = "generated tokens"
_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
# What tokenizers' clean_up_tokenization_spaces replaces, in its order.
_CLEAN_UP: Final = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)
_BASE: Final = "abcdef"


class TokenTexts:
    """What a tokenizer's tokens stand for. Threads may share it.

    Args:
        tokenizer: The tokenizer.
        clean_up: Whether spaces before punctuation go, as ``clean_up_tokenization_spaces`` has it.
    """

    def __init__(self, tokenizer: Tokenizer, *, clean_up: bool = False) -> None:
        self.clean_up = clean_up
        self._tokenizer = tokenizer
        self._special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        decoder = tokenizer.decoder
        kinds = _kinds({} if decoder is None else json.loads(decoder.__getstate__()))
        self.byte_level = kinds == ["ByteLevel"]
        self.byte_fallback = "ByteFallback" in kinds
        self.mixed = not self.byte_level and "ByteLevel" in kinds

    def text(self, ids: Sequence[int]) -> str:
        """The text of all these tokens, special ones left out."""
        text = self.join(ids)
        return clean_up(text) if self.clean_up else text

    def join(self, ids: Sequence[int]) -> str:
        """The same before the clean-up."""
        return guarded(lambda: str(self._tokenizer.decode(list(ids), skip_special_tokens=True)), IntegrityError, _WHAT)

    def token(self, token: int) -> str | None:
        """The token as the vocabulary writes it; None for an id it does not have."""
        written: str | None = self._tokenizer.id_to_token(token)
        return written

    def is_text(self, token: int) -> bool:
        """Whether it adds to the text: it is in the vocabulary and not special."""
        return token not in self._special and self.token(token) is not None

    def after(self, tokens: list[str]) -> str:
        """What the decoder makes of tokens as they are written."""
        decoder = self._tokenizer.decoder
        if decoder is None:
            return " ".join(tokens)
        return guarded(lambda: str(decoder.decode(tokens)), IntegrityError, _WHAT)

    def written(self, text: str) -> list[str]:
        """A text's tokens as the vocabulary writes them, without special ones."""
        return list(
            guarded(lambda: self._tokenizer.encode(text, add_special_tokens=False), IntegrityError, _WHAT).tokens
        )


class Detokenizer:
    """The text of one growing row. The pieces, joined, are :meth:`TokenTexts.text` of all the tokens."""

    def __init__(self, texts: TokenTexts) -> None:
        self._stream: _Bytes | _Window = _Bytes(texts) if texts.byte_level else _Window(texts)
        self._texts = texts
        self._clean = _CleanUp() if texts.clean_up else None

    def add(self, token: int) -> str:
        """The text that is final now and was not before, possibly empty."""
        piece = self._stream.add(token) if self._texts.is_text(token) else ""
        return self._clean.add(piece) if self._clean else piece

    def end(self) -> str:
        """The text held back, once no token follows."""
        piece = self._stream.end()
        return self._clean.add(piece) + self._clean.end() if self._clean else piece


class StopStrings:
    """Tells when one of several strings has appeared, as ``transformers.StopStringCriteria`` does.

    A string counts once a token completes it, with the row's last tokens, the prompt's included; text may follow it
    within that token. Nothing is cut: the answer holds the string.

    Args:
        texts: The tokenizer's.
        strings: At least one, none empty.
        prompt: The row's tokens so far.
    """

    def __init__(self, texts: TokenTexts, strings: Iterable[str], prompt: Sequence[int]) -> None:
        self._strings = [string.encode() for string in strings]
        self._reach = max(map(len, self._strings)) - 1
        self._bytes = _TokenBytes(texts)
        self._tail = b""
        for token in prompt[max(0, len(prompt) - self._reach) :]:
            self.add(token)

    def add(self, token: int) -> bool:
        """Whether a string is complete with this token."""
        piece = self._bytes.of(token)
        if piece is None:  # no token: nothing reaches across it
            self._tail = b""
            return False
        # No string looks further back than to its second byte, so that a match ends within the new token.
        found = any(string in _last(self._tail, len(string) - 1) + piece for string in self._strings)
        self._tail = _last(self._tail + piece, self._reach)
        return found


def clean_up(text: str) -> str:
    """Without the spaces before punctuation and within contractions, as ``clean_up_tokenization`` has it."""
    for spaced, plain in _CLEAN_UP:
        text = text.replace(spaced, plain)
    return text


class _Bytes:
    """Byte-level tokens: every token is bytes, and the text is those decoded."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        written = self._texts.token(token) or ""
        mapped = _mapped(written)
        return self._decoder.decode(written.encode() if mapped is None else mapped)

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)


class _Window:
    """Other tokens: what the last tokens add behind the one before them."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._before: list[int] = []  # given out already; the decoder drops the first one's space, not ours
        self._new: list[int] = []

    def add(self, token: int) -> str:
        self._new.append(token)
        if self._texts.byte_fallback and _fallback_byte(self._texts.token(token)) is not None:
            return ""
        known, text = self._text()
        if not text.startswith(known) or (self._texts.mixed and text.endswith(_BROKEN)):
            return ""
        self._before, self._new = self._new, []
        return text[len(known) :]

    def end(self) -> str:
        if not self._new:
            return ""
        known, text = self._text()
        self._new = []
        return text.removeprefix(known)

    def _text(self) -> tuple[str, str]:
        known = self._texts.join(self._before) if self._before else ""
        return known, self._texts.join([*self._before, *self._new])


class _CleanUp:
    """The clean-up over a stream: holds back a space until it is known what follows."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        text = self._held + piece
        space = text.rfind(" ")
        pending = space >= 0 and any(
            spaced != text[space:] and spaced.startswith(text[space:]) for spaced, _ in _CLEAN_UP
        )
        cut = space if pending else len(text)
        # Two replacements may work on one stretch, as in "  ' s"; it is cut only behind a word that none can touch.
        while space > 0 and text[:space].endswith((" ", "'", " n")):
            cut = space = text.rfind(" ", 0, space)
        cut = max(0, cut)
        self._held = text[cut:]
        return clean_up(text[:cut])

    def end(self) -> str:
        text, self._held = clean_up(self._held), ""
        return text


class _TokenBytes:
    """The bytes a token stands for amid a text, as StopStringCriteria takes them."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._known: dict[int, bytes | None] = {}
        self._base: list[str] | None = None

    def of(self, token: int) -> bytes | None:
        if token not in self._known:
            self._known[token] = self._find(token)
        return self._known[token]

    def _find(self, token: int) -> bytes | None:
        written = self._texts.token(token)
        if written is None:
            return None
        if self._texts.byte_fallback:
            exact = _fallback_byte(written)
        else:
            exact = _mapped(written) if self._texts.byte_level or self._texts.mixed else None
        if exact is not None:
            return exact
        # Behind a known text, so that the decoder treats it as any token that is not the first.
        if self._base is None:
            self._base = self._texts.written(_BASE)
        return self._texts.after([*self._base, written]).removeprefix(self._texts.after(self._base)).encode()


def _last(data: bytes, count: int) -> bytes:
    return data[max(0, len(data) - count) :]


def _kinds(decoder: dict[str, Any]) -> list[str]:
    if "decoders" in decoder:
        return [kind for inner in decoder["decoders"] for kind in _kinds(inner)]
    return [str(decoder["type"])] if "type" in decoder else []


def _fallback_byte(written: str | None) -> bytes | None:
    if written is None or len(written) != 6 or not written.startswith("<0x") or not written.endswith(">"):
        return None
    try:
        return bytes.fromhex(written[3:5])
    except ValueError:
        return None


def _mapped(written: str) -> bytes | None:
    try:
        return bytes(_BYTES[character] for character in written)
    except KeyError:
        return None


def _byte_alphabet() -> dict[str, int]:
    # GPT-2's alphabet: bytes that print stand for themselves, the others are shifted behind U+0100 in their order.
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES: Final = _byte_alphabet()
