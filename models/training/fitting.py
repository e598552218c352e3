"""The training loop, the same for every model, and what makes it answer the same twice."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

SEED: Final = 20
Report = Callable[[int, int], None]  # called with steps done and steps in all
_POOL: Final = 40  # batches whose examples are sorted by length together


def make_deterministic(seed: int = SEED) -> None:
    """Fix every generator and refuse operations whose result may vary from run to run on one machine.

    One thread: sums are then in one order whatever the number of cores, and models this small gain little from a
    second one, which on a busy machine they wait for longer than they work.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - transformers and sklearn may draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)


def batches(lengths: Sequence[int], size: int, epochs: int, seed: int = SEED) -> list[list[int]]:
    """Indexes of examples by batch: each epoch in another order, examples of like length together.

    Args:
        lengths: Of every example, in tokens.
        size: Examples in a batch; the last of an epoch may hold fewer.
        epochs: How often every example is seen.
        seed: Of the order.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    chosen: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        generator.shuffle(order)
        epoch = []
        for start in range(0, len(order), size * _POOL):
            pool = sorted(order[start : start + size * _POOL], key=lambda index: lengths[index])
            epoch += [pool[first : first + size] for first in range(0, len(pool), size)]
        generator.shuffle(epoch)
        chosen += epoch
    return chosen


def fit(
    model: Any,
    feeds: Iterator[dict[str, Any]],
    *,
    steps: int,
    learning_rate: float,
    report: Report,
    weight_decay: float = 0.01,
) -> None:
    """Train in place with AdamW, a short warm-up and a cosine to zero; the model ends in evaluation mode.

    Args:
        model: A transformers model that returns ``loss`` when its feed holds labels.
        feeds: Keyword arguments for the model, one mapping a step.
        steps: How many steps to take.
        learning_rate: At its peak.
        report: Told after every step.
        weight_decay: Of matrices; vectors (norms, biases) get none.
    """
    import torch

    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    model.train()
    for step, feed in zip(range(1, steps + 1), feeds, strict=False):
        loss = model(**feed).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if not math.isfinite(loss.item()):
            raise ArithmeticError(f"the loss is {loss.item()} at step {step} of {steps}")
        report(step, steps)
    model.eval()


def padded(rows: Sequence[Sequence[int]], value: int) -> Any:
    """Rows of ids as one integer tensor (rows, longest), filled up on the right."""
    import torch

    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def _rate(step: int, steps: int) -> float:
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
