"""Every operation ended at its N-th call, and the recovery from that too: old or new, whole, can be done again."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .scenarios import SCENARIOS, seen
from .shim import DEATHS, SIGKILL, Died, Shim

REPOSITORY = Path(__file__).parents[2]


def die_at(world, store, fault, at):
    """Whether the operation died, and how many commits of it had begun and had ended."""
    commits = []

    def watch(name, arguments, result):
        if name == "rename" and arguments[1].name == "state.json":
            commits.append(name)

    with Shim(fault, at, watch) as shim:
        try:
            world.act(store)
        except Died:
            return True, len(commits)
    assert not shim.happened
    return False, len(commits)


def kill_sweep(world, fault, points):
    """Runs made, problems found."""
    runs, problems = 0, []
    for at in points:
        store = world.fresh()
        died, commits = die_at(world, store, fault, at)
        runs += 1
        found = world.problems_after(store, least=commits, most=commits)
        problems += [f"{world.scenario.name}, {fault.name} {at}: {problem}" for problem in found]
        if not died:
            break
    return runs, problems


def kill_twice(world, first, second):
    """Kill the operation at one call and the next try at another; what is wrong after a third."""
    store = world.fresh()
    died, _ = die_at(world, store, DEATHS[1], first)
    again, _ = die_at(world, store, DEATHS[1], second)
    problems = world.problems_after(store, starts=2)
    return died, again, [f"{world.scenario.name}, killed at {first} and {second}: {problem}" for problem in problems]


def every():
    at = 0
    while True:
        at += 1
        yield at


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_a_call_it_is_old_or_new(world, scenario):
    made = world(scenario)
    dice = random.Random(f"kills {scenario}")  # noqa: S311
    problems = []
    for fault in DEATHS:
        reached = sum(made.call_counts.get(name, 0) for name in fault.calls)
        problems += kill_sweep(made, fault, sorted(dice.sample(range(1, reached + 1), min(2, reached))))[1]
    for _ in range(2):
        first, second = (dice.randint(1, sum(made.call_counts.values())) for _ in range(2))
        problems += kill_twice(made, first, second)[2]
    assert not problems


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_call_it_is_old_or_new(world, scenario, tally):
    made = world(scenario)
    runs, problems = 0, []
    for fault in DEATHS:
        swept, found = kill_sweep(made, fault, every())
        runs += swept
        problems += found
    tally(f"{scenario}: {runs} runs killed at each call, {len(problems)} wrong")
    assert not problems


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recovery_killed_at_a_call_is_old_or_new(world, scenario, tally):
    """The first death at five calls, the second, in the next try, at every other call."""
    made = world(scenario)
    dice = random.Random(f"twice {scenario}")  # noqa: S311
    runs, problems = 0, []
    for first in sorted(dice.sample(range(1, sum(made.call_counts.values()) + 1), 5)):
        for second in every():
            _, again, found = kill_twice(made, first, 2 * second)
            runs += 1
            problems += found
            if not again:
                break
    tally(f"{scenario}: {runs} runs whose recovery was killed too, {len(problems)} wrong")
    assert not problems


def drive(*arguments, timeout=600):
    """Run the driver in a process of its own, which may fork and kill as it likes; its counts."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.driver", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", ["upgrade", "gc"])
def test_a_real_sigkill_at_a_call_leaves_old_or_new(scenario, quick_path):
    counts = drive("at-calls", scenario, quick_path, 12)
    assert counts == {"runs": 12, "killed": 12, "problems": []}


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_real_sigkill_at_every_call_leaves_old_or_new(scenario, quick_path, tally):
    counts = drive("at-calls", scenario, quick_path, 0)
    tally(f"{scenario}: {counts['killed']} real SIGKILLs at a call, {len(counts['problems'])} wrong")
    assert counts["killed"] > 5
    assert not counts["problems"]


def test_random_sigkills_lose_nothing(quick_path):
    counts = drive("at-random", quick_path, 30, 7)
    assert counts["installs"] == 30
    assert counts["problems"] == []


@pytest.mark.long
def test_500_random_sigkills_lose_nothing(quick_path, tally):
    counts = drive("at-random", quick_path, 500, 11)
    tally(
        f"{counts['installs']} installs, {counts['killed']} of them killed at a random time, "
        f"{counts['done']} through, {counts['lost']} lost, {len(counts['problems'])} wrong"
    )
    assert counts["installs"] == 500
    assert counts["killed"] > 100
    assert not counts["problems"]


def test_a_commit_that_writes_in_place_would_be_found(world, monkeypatch):
    from edgekit.bundle.store import disk, state_file

    def in_place(path, data):
        disk.remove_file(path)
        disk.write_file(path, [data])

    monkeypatch.setattr(state_file, "replace_file", in_place)
    made = world("rollback")
    assert any(kill_sweep(made, DEATHS[1], [at])[1] for at in every())


def test_the_shim_kills_a_process_at_the_call(bundles, quick_path):
    assert SIGKILL.kills
    from .scenarios import World

    made = World(SCENARIOS["upgrade"], bundles, quick_path / "w")
    assert len(made.legal) == 4  # old, on trial, started, new
    assert len({repr(state) for state in made.legal}) == 4
    assert seen(made.fresh()) == made.legal[0]
