"""What a bundle is timed with: fixed inputs, the same for every bundle that is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

from edgekit.runtime.answers import Input
from edgekit.runtime.model import Model
from edgekit.runtime.timing import Clock, Durations, clock_ms
from edgekit.spec.manifest import Manifest
from edgekit.spec.settings.generation import GenerationSettings
from edgekit.spec.settings.text import TextSettings

SHAPES: Final = ((1, 16), (1, 128), (8, 128))  # texts at once, tokens each
BATCHES: Final = (1, 8)  # of other inputs
SPECIAL_TOKENS: Final = 2  # one before and one after the text, in the BERT family

# Words that English vocabularies hold whole, so that a word is a token.
WORDS: Final = (
    "the", "people", "of", "this", "city", "have", "been", "to", "a", "house", "by", "water", "many", "times",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """Something to ask of every bundle alike.

    Attributes:
        name: Of what is asked, for people.
        measures: What its durations are of.
        ask: Asks an open bundle once, with the clock to use.
        batch: Inputs asked at once.
        long: Whether asking once takes the time of dozens of calls, and gives as many durations.
    """

    name: str
    measures: tuple[str, ...]
    ask: Callable[[Model, Clock], Durations]
    batch: int = 1
    long: bool = False


def workloads(manifests: Sequence[Manifest], golden: Callable[[], Sequence[Input]]) -> list[Workload]:
    """A text to go on with where every bundle does that, else texts of given lengths, else golden inputs.

    Args:
        manifests: Of the bundles that are compared; all are asked the same, which none may find too long.
        golden: Gives the golden inputs of one of them.
    """
    if all(manifest.task == "text-generation" for manifest in manifests):
        return [_generation(manifests)]
    inputs = golden()
    if set(inputs[0]) != {"text"}:
        names = " + ".join(inputs[0])
        return [_asking(f"{batch} x {names}", list(islice(cycle(inputs), batch))) for batch in BATCHES]
    longest = min(manifest.section(TextSettings).max_length for manifest in manifests)
    return [
        _asking(f"{batch} x {tokens} tokens", [{"text": text} for text in make_texts(batch, tokens)])
        for batch, tokens in SHAPES
        if tokens <= longest
    ]


def make_texts(batch: int, tokens: int) -> list[str]:
    """Texts that tokenize to about ``tokens`` each, special ones included, all different."""
    return [" ".join(islice(cycle(WORDS), row, row + tokens - SPECIAL_TOKENS)) for row in range(batch)]


def _asking(name: str, inputs: Sequence[Input]) -> Workload:
    def ask(model: Model, clock: Clock) -> Durations:
        return {name: [clock_ms(lambda: model.raw(inputs, batch_size=len(inputs)), clock)]}

    return Workload(name, (name,), ask, batch=len(inputs))


def _generation(manifests: Sequence[Manifest]) -> Workload:
    from edgekit.runtime import generation_timing as timing  # other tasks do not pay for it

    held = [manifest.section(GenerationSettings).max_positions for manifest in manifests]
    longest = min((positions for positions in held if positions), default=timing.PROMPT_TOKENS + timing.NEW_TOKENS)
    prompt = min(timing.PROMPT_TOKENS, longest // 2)
    new = min(timing.NEW_TOKENS, longest - prompt)
    read, written = f"{prompt} tokens read", "a token written"

    def ask(model: Model, clock: Clock) -> Durations:
        first, steps = timing.generate_once(timing.generator(model), prompt, new, clock=clock)
        return {read: [first], written: steps}

    return Workload(f"{prompt} tokens and {new} more", (read, written), ask, long=True)
