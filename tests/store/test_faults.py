"""Every operation with every fault at its N-th call: old or new, whole, one typed error, and it can be done again."""

import random

import pytest

from edgekit.errors import EdgekitError

from .scenarios import SCENARIOS
from .shim import FAULTS, Shim


def run_with(world, fault, at):
    """Whether the fault happened, and what was wrong afterwards."""
    store = world.fresh()
    error = None
    with Shim(fault, at) as shim:
        try:
            world.scenario.act(store, world.bundles)
        except EdgekitError as caught:
            error = caught
    problems = world.problems_after(store)
    if shim.synced_after_failure:
        problems.append("a descriptor was synced again after its sync failed")
    if error is not None and not error.message:
        problems.append("an error without a message")
    return shim.happened, [f"{world.scenario.name}, {fault.name}, call {at}: {problem}" for problem in problems]


def sweep(world, fault, points=None):
    """Runs made, and problems found, with the fault at call 1, 2, … until the operation passes untouched."""
    runs, problems, at = 0, [], 0
    while True:
        at += 1
        if points is not None and at not in points:
            if at > max(points, default=0):
                return runs, problems
            continue
        happened, found = run_with(world, fault, at)
        runs += 1
        problems += found
        if not happened:
            return runs, problems


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_a_call_ends_old_or_new(world, scenario):
    made = world(scenario)
    dice = random.Random(f"faults {scenario}")  # noqa: S311 - a sample that is the same every time
    problems = []
    for fault in FAULTS.values():
        reached = sum(made.call_counts.get(name, 0) for name in fault.calls)
        points = set(dice.sample(range(1, reached + 1), min(1, reached)))
        problems += sweep(made, fault, points)[1]
    assert not problems


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_every_call_ends_old_or_new(world, scenario, tally):
    made = world(scenario)
    runs, problems = 0, []
    for fault in FAULTS.values():
        swept, found = sweep(made, fault)
        runs += swept
        problems += found
    tally(f"{scenario}: {len(FAULTS)} faults, {runs} runs, {len(problems)} wrong")
    assert not problems
