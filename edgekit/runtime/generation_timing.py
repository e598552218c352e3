"""How fast a bundle generates: tokens a second that it reads of a prompt, and that it writes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgekit.errors import UsageError
from edgekit.runtime.generation import Generator
from edgekit.runtime.model import Model
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.timing import Clock, Durations, Sample, take_turns

PROMPT_TOKENS: Final = 128
NEW_TOKENS: Final = 64
_UNSETTLED: Final = 2  # steps after a prefill that still make room: not counted


@dataclass(frozen=True, slots=True)
class Speed:
    """Durations of one bundle.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        prefill: Of reading it, up to the first new token.
        step: Of each token written after that, choosing it included.
    """

    prompt_tokens: int
    prefill: Sample
    step: Sample

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens a second, at the median."""
        return self.prompt_tokens * 1e3 / self.prefill.median_ms

    @property
    def decode_tokens_per_s(self) -> float:
        """Written tokens a second, at the median."""
        return 1e3 / self.step.median_ms


def time_generation(
    models: Mapping[str, Generator],
    *,
    rounds: int,
    prompt_tokens: int = PROMPT_TOKENS,
    new_tokens: int = NEW_TOKENS,
) -> dict[str, Speed]:
    """Time how models continue a prompt greedily, one text at a time, in turns.

    The prompt is made of tokens drawn at random, the same for all: what a token means takes no time.

    Args:
        models: What to time, by name.
        rounds: Texts by each, at least 1; one more is not counted.
        prompt_tokens: Read at once.
        new_tokens: Written, at least 4.

    Raises:
        UsageError: There is nothing to time.
        InputError: A model takes fewer tokens.
    """
    if not models or rounds < 1 or prompt_tokens < 1 or new_tokens <= _UNSETTLED + 1:
        raise UsageError(
            f"nothing to time: {len(models)} models, {rounds} rounds, {prompt_tokens} + {new_tokens} tokens"
        )
    smallest = min(model.vocabulary for model in models.values())

    def ask(model: Generator) -> Durations:
        prefill, steps = generate_once(model, prompt_tokens, new_tokens, vocabulary=smallest)
        return {"prefill": [prefill], "step": steps}

    found = take_turns(
        {name: lambda model=model: ask(model) for name, model in models.items()},  # type: ignore[misc]
        rounds=rounds,
        warmup=1,
    )
    return {name: Speed(prompt_tokens, samples["prefill"], samples["step"]) for name, samples in found.items()}


def generate_once(
    model: Generator,
    prompt_tokens: int,
    new_tokens: int,
    *,
    vocabulary: int | None = None,
    clock: Clock = time.perf_counter_ns,
) -> tuple[float, list[float]]:
    """Milliseconds of reading a prompt up to the first new token, and of each settled token after it.

    Args:
        model: Asked to continue greedily.
        prompt_tokens: Read at once.
        new_tokens: Written, at least 4.
        vocabulary: Tokens below this number make the prompt; the model's own where None.
        clock: Nanoseconds.

    Raises:
        InputError: The model takes fewer tokens.
    """
    prompt = np.random.default_rng(0).integers(0, vocabulary or model.vocabulary, prompt_tokens).tolist()
    steps = model.steps([prompt], GenerationOptions(max_new_tokens=new_tokens))
    durations, began = [], clock()
    for _ in steps:
        now = clock()
        durations.append((now - began) / 1e6)
        began = now
    return durations[0], durations[1 + _UNSETTLED :]


def generator(model: Model) -> Generator:
    """The model, which must be one that continues texts.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(model, Generator):
        raise UsageError(f"a bundle for {model.manifest.task} continues no text")
    return model
