"""Models that generate: export their components, decode twenty steps with a past, compare every step with torch.

Torch chooses the tokens greedily and both sides are fed the same ones, so that one difference does not
hide behind the next. The reference has no past: it reads the whole text again at every step, so that a
fault of a cache is the graphs' alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch

from benchmarks.matrix import graphs
from benchmarks.matrix.failure import Stage, during
from benchmarks.matrix.judge import Answers, Asked, Difference, dead_outputs, difference
from benchmarks.matrix.samples import BATCHES, SHAPES, SQUARE, Shape, sample

STEPS: Final = 20
Sessions = Mapping[str, onnxruntime.InferenceSession]
Step = Callable[[torch.Tensor | None], Answers]  # the tokens of the step, None for the first; gives the logits
Answer = Callable[[list[torch.Tensor]], torch.Tensor]  # the tokens chosen so far; gives logits of every position


def ask(model: Any) -> Asked:
    """Torch's greedy tokens and logits at three lengths, or the one window of a speech model, and at every batch."""
    answer = _seq2seq_torch if model.config.is_encoder_decoder else _decoder_torch
    shapes = _shapes(model)
    cases = [
        (f"batch {batch}, {shape.tokens} tokens", prompt(model, batch, shape, seed=17 * batch + shape.tokens))
        for shape in shapes
        for batch in BATCHES
    ]
    greedy = [_greedy(answer(model, feeds), STEPS) for _, feeds in cases]
    again, _ = _greedy(answer(model, prompt(model, BATCHES[-1], shapes[0], seed=999)), 0)
    return Asked(
        cases=cases,
        references=[[{"logits": logits} for logits in steps] for steps, _ in greedy],
        tokens=[chosen for _, chosen in greedy],
        shapes=len(shapes),
        names=(f"logits of the prefill and {STEPS} steps",),
        dead=dead_outputs([{"logits": greedy[len(BATCHES) - 1][0][0]}, {"logits": again[0]}]),
    )


def export(model: Any, asked: Asked, folder: Path) -> dict[str, Path]:
    """Export the components through edgekit; returns their paths by name."""
    del asked  # edgekit has samples of its own for these
    return graphs.export_components(model, folder)


def compare(model: Any, asked: Asked, paths: Mapping[str, Path]) -> Difference:
    """The worst step of the worst case."""
    stepper = _seq2seq_graphs if model.config.is_encoder_decoder else _decoder_graphs
    sessions = {}
    for name, path in paths.items():
        with during(Stage.OPEN, name):
            sessions[name] = graphs.open_session(path)
    worst, sizes = Difference("", 0.0, ""), asked.sizes()
    for (where, feeds), steps, chosen in zip(asked.cases, asked.references, asked.tokens, strict=True):
        with during(Stage.RUN, f"{where}, encoder"):
            step = stepper(model, sessions, feeds)
        for index, expected in enumerate(steps):
            place = f"{where}, {'prefill' if index == 0 else f'step {index}'}"
            with during(Stage.RUN, place):
                got = step(None if index == 0 else chosen[index - 1])
            worst = max(worst, difference(expected, got, sizes, place), key=lambda one: one.relative)
    return worst


def prompt(model: Any, batch: int, shape: Shape, *, seed: int) -> dict[str, torch.Tensor]:
    """The prompt: padded on the left for a decoder, what the encoder reads for an encoder-decoder."""
    feeds = sample(model, batch, shape, seed=seed)
    if model.config.is_encoder_decoder:
        return {name: value for name, value in feeds.items() if name not in ("decoder_input_ids", "token_type_ids")}
    return {name: torch.flip(feeds[name], dims=[1]) for name in ("input_ids", "attention_mask")}


def _shapes(model: Any) -> tuple[Shape, ...]:
    sizes = {str({n: v.shape for n, v in prompt(model, 1, shape, seed=1).items()}) for shape in SHAPES}
    return SHAPES if len(sizes) > 1 else (SQUARE,)


def _greedy(answer: Answer, steps: int) -> tuple[list[np.ndarray], list[torch.Tensor]]:
    """The logits of the prefill and of every step, and the tokens torch chose."""
    chosen: list[torch.Tensor] = []
    logits = []
    for _ in range(steps + 1):
        with torch.no_grad():
            logits.append(answer(chosen)[:, -1:].numpy())
        chosen.append(torch.from_numpy(logits[-1][:, -1].argmax(-1)[:, None]))
    return logits, chosen


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def _decoder_torch(model: Any, feeds: Mapping[str, torch.Tensor]) -> Answer:
    takes = inspect.signature(model.forward).parameters

    def answer(chosen: list[torch.Tensor]) -> torch.Tensor:
        mask = torch.cat([feeds["attention_mask"], *map(torch.ones_like, chosen)], dim=1)
        named = {"attention_mask": mask, "position_ids": _positions(mask), "use_cache": False}
        logits: torch.Tensor = model(
            input_ids=torch.cat([feeds["input_ids"], *chosen], dim=1),
            **{name: value for name, value in named.items() if name in takes},
        ).logits
        return logits

    return answer


def _decoder_graphs(model: Any, sessions: Sessions, feeds: Mapping[str, torch.Tensor]) -> Step:
    del model
    state: dict[str, Any] = {"mask": feeds["attention_mask"], "past": {}}

    def step(tokens: torch.Tensor | None) -> Answers:
        ids = feeds["input_ids"] if tokens is None else tokens
        if tokens is not None:
            state["mask"] = torch.cat([state["mask"], torch.ones_like(tokens)], dim=1)
        found = graphs.run(
            sessions["prefill" if tokens is None else "decode"],
            {
                "input_ids": ids.numpy(),
                "attention_mask": state["mask"].numpy(),
                "position_ids": _positions(state["mask"])[:, -ids.shape[1] :].numpy(),
                "logit_positions": np.full((ids.shape[0], 1), ids.shape[1] - 1),
                **state["past"],
            },
        )
        state["past"] = _past(found)
        return {"logits": found["logits"][:, -1:]}

    return step


def _seq2seq_torch(model: Any, feeds: Mapping[str, torch.Tensor]) -> Answer:
    def answer(chosen: list[torch.Tensor]) -> torch.Tensor:
        tokens = torch.cat([_start(model, feeds), *chosen], dim=1)
        logits: torch.Tensor = model(**feeds, decoder_input_ids=tokens, use_cache=False).logits
        return logits

    return answer


def _seq2seq_graphs(model: Any, sessions: Sessions, feeds: Mapping[str, torch.Tensor]) -> Step:
    states = graphs.run(sessions["encoder"], {name: value.numpy() for name, value in feeds.items()})
    state: dict[str, Any] = {}
    fixed: dict[str, Any] = dict(states)
    if "attention_mask" in feeds:
        fixed["encoder_attention_mask"] = feeds["attention_mask"].numpy()

    def step(tokens: torch.Tensor | None) -> Answers:
        ids = _start(model, feeds) if tokens is None else tokens
        found = graphs.run(
            sessions["prefill" if tokens is None else "decode"], {"input_ids": ids.numpy(), **fixed, **state}
        )
        state.update(_past(found))
        fixed.update({name: value for name, value in found.items() if name.startswith("cross.")})
        return {"logits": found["logits"][:, -1:]}

    return step


def _start(model: Any, feeds: Mapping[str, torch.Tensor]) -> torch.Tensor:
    batch = next(iter(feeds.values())).shape[0]
    start = getattr(model.config, "decoder_start_token_id", None)
    return torch.full((batch, 1), start if isinstance(start, int) else 0)


def _past(found: Answers) -> dict[str, Any]:
    return {f"past{name.removeprefix('present')}": value for name, value in found.items() if name.startswith("present")}
