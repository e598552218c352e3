"""The latency comparison over simulated processes: what it asks, and how well it decides under this machine's noise."""

import math
import random
from collections import Counter

import pytest

from edgekit.checks.latency import NEW, OLD, Plan, compare
from edgekit.checks.sequential import FAIL, INCONCLUSIVE, PASS
from edgekit.errors import HostError
from edgekit.spec.progress import Silent

MS = {"short": 4.5, "long": 27.0}


class Machine:
    """A clock, and processes whose calls take time on it.

    A call takes its time, times what its process carries through its life, times a slow phase of the machine that
    lasts for seconds and hits whoever runs then, times noise with a long tail.
    """

    def __init__(self, seed, slower=1.0, *, process=0.004, call=0.06, phase=0.35, drift=0.0):
        self.random = random.Random(seed)  # noqa: S311 - seeded on purpose
        self.slower, self.process, self.call, self.phase, self.drift = slower, process, call, phase, drift
        self.now = 0.0
        self.phase_end, self.phase_factor = 0.0, 1.0
        self.open = 0
        self.log = []

    def clock(self):
        return self.now

    def start(self, side):
        self.now += 0.4
        self.open += 1
        self.log.append(side)
        return Simulated(self, side)

    def duration_ms(self, ms):
        if self.now >= self.phase_end:
            self.phase_end = self.now + self.random.expovariate(1 / 2.0)
            self.phase_factor = math.exp(abs(self.random.gauss(0, self.phase)))
        tail = self.random.expovariate(1) if self.random.random() < 0.1 else 0.0
        noise = math.exp(abs(self.random.gauss(0, self.call)) + 0.3 * tail)
        taken = ms * self.phase_factor * noise * (1 + self.drift * self.now)
        self.now += taken / 1e3
        return taken


class Simulated:
    def __init__(self, machine, side):
        self.machine, self.side = machine, side
        self.factor = math.exp(machine.random.gauss(0, machine.process)) * (machine.slower if side == NEW else 1.0)

    def ask(self, request):
        if request["do"] == "warm up":
            return {name: self.machine.duration_ms(ms * self.factor) for name, ms in MS.items()}
        self.machine.log.append((self.side, id(self)))
        found = {}
        for name, calls in request["calls"].items():
            self.machine.duration_ms(MS[name] * self.factor)
            found[name] = [self.machine.duration_ms(MS[name] * self.factor) for _ in range(calls)]
        return found

    def close(self):
        self.machine.open -= 1


def run(machine, seed=1, **plan):
    return compare(machine.start, Plan(seed=seed, **plan), Silent(), clock=machine.clock)


def test_a_bundle_8_percent_slower_is_found_and_an_equal_one_is_not():
    found = Counter(run(Machine(seed, 1.08), seed).verdict for seed in range(30))
    assert found[FAIL] >= 27
    assert found[PASS] == 0
    equal = Counter(run(Machine(seed), seed).verdict for seed in range(40))
    assert equal[PASS] >= 38
    assert equal[FAIL] == 0


def test_at_the_margin_itself_a_verdict_is_seldom():
    verdicts = Counter(run(Machine(seed, 1.05), seed).verdict for seed in range(60))
    # Each may err in 1 of 20 runs: binomial(60, 0.05) exceeds 8 less than once in 100.
    assert verdicts[FAIL] <= 8
    assert verdicts[PASS] <= 8


def test_a_drift_of_the_machine_is_no_difference():
    found = Counter(run(Machine(seed, drift=0.01), seed).verdict for seed in range(12))
    assert found[FAIL] == 0
    assert found[PASS] >= 11


def test_noise_too_great_is_inconclusive_and_not_a_pass():
    machine = Machine(1, call=0.8, phase=1.0, process=0.2)
    latency = run(machine)
    assert latency.verdict == INCONCLUSIVE
    assert machine.now <= 170


def test_it_stops_early_where_the_verdict_is_certain_and_in_time_where_it_is_not():
    machine = Machine(1, 1.5)
    assert run(machine).count == 8
    machine = Machine(1, 1.05)
    latency = run(machine, limit_s=60.0)
    assert latency.seconds <= 60
    assert latency.count < 20


def test_processes_are_fresh_two_of_each_in_changing_order_and_all_closed():
    machine = Machine(3)
    latency = run(machine)
    started = [entry for entry in machine.log if isinstance(entry, str)]
    assert len(started) == 4 * latency.count
    quartets = [tuple(started[place : place + 4]) for place in range(0, len(started), 4)]
    assert all(sorted(quartet) == [NEW, NEW, OLD, OLD] for quartet in quartets)
    assert len(set(quartets)) > 1
    assert machine.open == 0
    bursts = [entry for entry in machine.log if not isinstance(entry, str)]
    rounds = [frozenset(process for _, process in bursts[place : place + 4]) for place in range(0, len(bursts), 4)]
    assert all(len(one) == 4 for one in rounds)  # each process once a round


def test_the_same_seed_gives_the_same_order():
    logs = []
    for seed in (1, 1, 2):
        machine = Machine(5)
        run(machine, seed)
        logs.append([entry for entry in machine.log if isinstance(entry, str)])
    assert logs[0] == logs[1] != logs[2]


def test_a_process_that_fails_ends_the_others():
    machine = Machine(1)
    start, left = machine.start, iter(range(3))

    def failing(side):
        if next(left, None) is None:
            raise HostError("no memory")
        return start(side)

    with pytest.raises(HostError, match="no memory"):
        compare(failing, Plan(), Silent(), clock=machine.clock)
    assert machine.open == 0


def test_the_document_holds_what_was_measured():
    document = run(Machine(2)).to_json()
    assert document["processes"] == 4 * document["blocks"]
    measure = document["measures"]["short"]
    assert len(measure["differences"]) == document["blocks"]
    assert measure["new"]["calls"] > 662
    assert measure["new"]["median_ms"] < measure["new"]["p90_ms"] < measure["new"]["p99_ms"]
