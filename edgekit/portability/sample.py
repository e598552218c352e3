"""What an environment is asked: the golden cases, and more inputs made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.runtime.answers import Raw
from edgekit.runtime.golden import Golden

LONGEST = 160  # characters of a text that is halved: emulators are slow, and the golden cases hold long ones


def parity_sample(golden: Sequence[Golden]) -> list[Golden]:
    """The golden cases, and behind them further inputs without an expected answer of their own.

    Each short text is cut into its two halves: other lengths and other words, and the same for everyone who asks.
    What is compared there is the answer of the same variant on this machine. Inputs that are no single text give none.
    """
    return [*golden, *(Golden({"text": text}, _nothing(golden)) for text in _halves(golden))]


def _halves(golden: Sequence[Golden]) -> Iterator[str]:
    for case in golden:
        text = case.input.get("text")
        if len(case.input) != 1 or not isinstance(text, str) or len(text) > LONGEST:
            continue
        words = text.split()
        for half in (words[: len(words) // 2], words[len(words) // 2 :]):
            if half:
                yield " ".join(half)


def _nothing(golden: Sequence[Golden]) -> Raw:
    return golden[0].expected  # the format wants an answer; nobody compares this one
