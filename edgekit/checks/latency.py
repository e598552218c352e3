"""Is the new bundle slower? Blocks of fresh processes, two of each bundle, asked in turns in random order.

A block opens four processes, two of either bundle, in random order. They are asked in rounds, a burst of calls each, in
another random order every round, and what counts of a round is the logarithm of each burst's median. A slow phase of
the machine so hits all four alike, and the median over rounds forgets the rounds that it hit unevenly. What a process
carries through its life (where its memory came to lie, say) is drawn anew for every block: Kalibera and Jones (2013,
"Rigorous benchmarking in reasonable time") show why the process must be what is repeated. The block's two processes of
the old bundle are the A/A control.
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from edgekit.checks import sequential
from edgekit.checks.child import CPU, WALL
from edgekit.checks.processes import Process, opening
from edgekit.checks.sequential import Block, Ratio
from edgekit.runtime.timing import Sample
from edgekit.spec.progress import Progress

MARGIN: Final = 0.05
LIMIT_S: Final = 170.0
SEED: Final = 1
THREADS: Final = 1  # where neighbours want the cores, more wait for each other
BURST_MS: Final = 90.0  # many slices of the scheduler, short enough for many rounds
ROUNDS_MAX: Final = 14  # of a block; fewer where its share of the time is over before
BLOCKS_WANTED: Final = 13  # in the time there is, where the machine is slow

OLD, NEW = "old", "new"
Names: TypeAlias = tuple[str, int]


class Timed(Protocol):
    """An open process of a bundle."""

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """``{"do": "warm up", "clock": …}`` or ``{"do": "burst", "calls": {…}, "clock": …}``; see :mod:`.child`."""

    def close(self) -> None:
        """End it."""


Start: TypeAlias = Callable[[str], Timed]
"""Starts a process of :data:`OLD` or :data:`NEW`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Attributes:
        margin: How much slower is still alike.
        limit_s: No block is begun that would end later, seconds.
        seed: Of the orders.
        threads: Of each session.
    """

    margin: float = MARGIN
    limit_s: float = LIMIT_S
    seed: int = SEED
    threads: int = THREADS

    @property
    def clock(self) -> str:
        """What is counted: with one thread the CPU's time, which is what a call takes on a core of its own.

        Such a call waits for nothing but the CPU, and what neighbours have of that is not the bundle's. Several threads
        wait for each other, which is the bundle's. A clock that ticks too seldom (Windows) is not used.
        """
        fine = time.get_clock_info("process_time").resolution < 1e-5
        return CPU if self.threads == 1 and fine else WALL


@dataclass(frozen=True, slots=True)
class Latency:
    """What was measured.

    Attributes:
        verdict: ``pass``, ``fail`` or ``inconclusive``.
        ratios: By measure.
        samples: By measure and bundle, the calls of all processes.
        blocks: By measure.
        seconds: How long it took.
        plan: How it was measured.
    """

    verdict: str
    ratios: Mapping[str, Ratio]
    samples: Mapping[str, Mapping[str, Sample]]
    blocks: Mapping[str, Sequence[Block]]
    seconds: float
    plan: Plan

    @property
    def count(self) -> int:
        """Blocks."""
        return len(next(iter(self.blocks.values())))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "verdict": self.verdict,
            "margin": self.plan.margin,
            "miss": sequential.MISS,
            "blocks": self.count,
            "processes": 4 * self.count,
            "threads": self.plan.threads,
            "clock": self.plan.clock,
            "seed": self.plan.seed,
            "seconds": round(self.seconds, 1),
            "measures": {
                name: ratio.to_json()
                | {
                    side: {
                        "calls": len(sample.values_ms),
                        "median_ms": round(sample.median_ms, 4),
                        **{key: round(value, 4) for key, value in sample.percentiles_ms().items()},
                    }
                    for side, sample in self.samples[name].items()
                }
                | {
                    "differences": [round(block.difference, 5) for block in self.blocks[name]],
                    "controls": [round(block.control, 5) for block in self.blocks[name]],
                }
                for name, ratio in self.ratios.items()
            },
        }


def starter(new: tuple[Path, str], old: tuple[Path, str], threads: int) -> Start:
    """Starts real processes.

    Args:
        new: A bundle and its variant.
        old: Likewise.
        threads: Of each session.
    """
    sides = {NEW: new, OLD: old}
    asked_of = (new[0], old[0])
    return lambda side: Process(opening("time", *sides[side], asked_of, threads=threads))


def compare(start: Start, plan: Plan, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> Latency:
    """Measure until the verdict is certain, the blocks are enough or the time is over.

    Args:
        start: Starts a process.
        plan: How to measure.
        progress: Told how much of the time is over.
        clock: Seconds.

    Raises:
        EdgekitError: A process could not open its bundle, or ended.
    """
    began = clock()
    run = _Run(start, plan.clock, random.Random(plan.seed))  # noqa: S311 - an order, no secret
    while True:
        run.block(plan.limit_s, clock)
        spent = clock() - began
        count = run.count
        progress.advance(min(int(spent), int(plan.limit_s)), int(plan.limit_s))
        final = count >= sequential.last() or spent * (count + 1) / count > plan.limit_s
        if final or sequential.due(count):
            ratios = sequential.judge(run.blocks, plan.margin, final=final)
            found = sequential.verdict(ratios)
            if final or found != sequential.INCONCLUSIVE:
                break
    samples = {
        name: {side: Sample(tuple(values)) for side, values in sides.items()} for name, sides in run.calls.items()
    }
    return Latency(found, ratios, samples, run.blocks, clock() - began, plan)


def percent(ratio: float) -> str:
    """How much slower, for people."""
    if ratio in (0, math.inf):
        return "?"
    return f"{ratio - 1:+.1%}"


@dataclass(slots=True)
class _Run:
    """Blocks so far; the first process tells how many calls make a burst."""

    start: Start
    clock: str
    order: random.Random
    blocks: dict[str, list[Block]] = field(default_factory=dict)
    calls: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    burst: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.blocks.values()), []))

    def block(self, limit_s: float, clock: Callable[[], float]) -> None:
        names = [(OLD, 0), (OLD, 1), (NEW, 0), (NEW, 1)]
        self.order.shuffle(names)
        with contextlib.ExitStack() as stack:
            processes: dict[Names, Timed] = {}
            began = clock()
            for name in names:
                processes[name] = self.start(name[0])
                stack.callback(processes[name].close)
                warm = processes[name].ask({"do": "warm up", "clock": self.clock})
            if not self.burst:
                self.burst = {name: max(1, min(64, round(BURST_MS / max(ms, 1e-3)))) for name, ms in warm.items()}
            rounds = [self._round(processes)]
            while len(rounds) < ROUNDS_MAX and clock() - began < limit_s / BLOCKS_WANTED:
                rounds.append(self._round(processes))
        for measure in rounds[0]:
            found = [_contrasts(one[measure]) for one in rounds]
            block = Block(statistics.median(d for d, _ in found), statistics.median(c for _, c in found))
            self.blocks.setdefault(measure, []).append(block)

    def _round(self, processes: Mapping[Names, Timed]) -> dict[str, dict[Names, float]]:
        """By measure, the logarithm of each process's median."""
        found: dict[str, dict[Names, float]] = {}
        turns = sorted(processes)
        self.order.shuffle(turns)
        request = {"do": "burst", "calls": self.burst, "clock": self.clock}
        for name in turns:
            for measure, values in processes[name].ask(request).items():
                found.setdefault(measure, {})[name] = math.log(statistics.median(values))
                self.calls.setdefault(measure, {NEW: [], OLD: []})[name[0]] += values
        return found


def _contrasts(logs: Mapping[Names, float]) -> tuple[float, float]:
    """New less old, and old less itself: under equal bundles each is as likely as its opposite."""
    new, old = logs[NEW, 0] + logs[NEW, 1], logs[OLD, 0] + logs[OLD, 1]
    return (new - old) / 2, logs[OLD, 0] - logs[OLD, 1]
