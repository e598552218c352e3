"""The power goes at any point of an operation: what was not synced is lost, torn, zeroed or there in another order."""

import random
import shutil
from contextlib import suppress

import pytest

from edgekit.bundle.store import calls, disk
from edgekit.bundle.store.store import Store

from .scenarios import SCENARIOS
from .shim import DEATHS, Died, Shim
from .simulated_disk import Change, Recorder


def recorded(world, *, killed_at=0):
    """An operation's changes; with ``killed_at`` those of one killed and of the next try."""
    store = world.fresh()
    recorder = Recorder(store.root)
    if killed_at:
        with suppress(Died), Shim(DEATHS[1], killed_at, recorder):
            world.act(store)
    with Shim(watch=recorder):
        world.act(store)
    return recorder


def losses(world, recorder, points, samples, dice):
    """Disks built, problems found."""
    runs, problems = 0, []
    for index in points:
        ended, begun = recorder.sure_commits(index)
        last = index == len(recorder.changes)
        for _ in range(samples if recorder.unsure(index) else 1):
            root = world.folder / "run"
            shutil.rmtree(root, ignore_errors=True)
            recorder.build(index, root, dice)
            runs += 1
            found = world.problems_after(Store(root), least=len(world.legal) - 1 if last else ended, most=begun)
            problems += [f"{world.scenario.name}, power lost after change {index}: {problem}" for problem in found]
    return runs, problems


def points_of(recorder, dice=None, count=0):
    points = range(len(recorder.changes) + 1)
    return points if dice is None else sorted({*dice.sample(points, min(count, len(points))), len(recorder.changes)})


def kills_of(world, step, dice):
    total = sum(world.call_counts.values())
    return range(dice.randint(1, step), total + 1, step)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_after_a_power_loss_it_is_old_or_new(world, scenario):
    made = world(scenario)
    dice = random.Random(f"power {scenario}")  # noqa: S311
    recorder = recorded(made)
    runs, problems = losses(made, recorder, points_of(recorder, dice, 6), 1, dice)
    assert runs > 5
    assert not problems


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_after_a_power_loss_at_any_point_it_is_old_or_new(world, scenario, tally):
    made = world(scenario)
    dice = random.Random(f"power {scenario}")  # noqa: S311
    recorder = recorded(made)
    runs, problems = losses(made, recorder, points_of(recorder), 4, dice)
    tally(f"{scenario}: {len(recorder.changes)} changes, {runs} disks after a power loss, {len(problems)} wrong")
    assert not problems


@pytest.mark.long
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if "repair" not in name])
def test_after_a_kill_and_a_power_loss_in_the_next_try_it_is_old_or_new(world, scenario, tally):
    made = world(scenario)
    dice = random.Random(f"kill and power {scenario}")  # noqa: S311
    runs, problems = 0, []
    for killed_at in kills_of(made, 9, dice):
        recorder = recorded(made, killed_at=killed_at)
        built, found = _losses_after_kill(made, recorder, dice)
        runs += built
        problems += found
    tally(f"{scenario}: {runs} disks after a kill and a power loss in the next try, {len(problems)} wrong")
    assert not problems


def _losses_after_kill(world, recorder, dice):
    runs, problems = 0, []
    for index in points_of(recorder, dice, 20):
        root = world.folder / "run"
        shutil.rmtree(root, ignore_errors=True)
        recorder.build(index, root, dice)
        runs += 1
        problems += [
            f"{world.scenario.name}, after change {index}: {found}"
            for found in world.problems_after(Store(root), starts=2)
        ]
    return runs, problems


def without_syncs_of(kind, monkeypatch):
    if kind == "files":
        real = disk.write_file

        def write_file(path, pieces):
            with monkeypatch.context() as patch:
                patch.setattr(calls, "fsync", lambda descriptor: None)
                real(path, pieces)

        for module in ("staging", "disk"):
            monkeypatch.setattr(f"edgekit.bundle.store.{module}.write_file", write_file)
    else:
        for module in ("staging", "disk", "store", "collecting"):
            monkeypatch.setattr(f"edgekit.bundle.store.{module}.sync_folder", lambda path: None)


@pytest.mark.parametrize(("kind", "scenario"), [("files", "upgrade"), ("folders", "upgrade"), ("folders", "gc")])
def test_a_forgotten_sync_would_be_found(world, monkeypatch, kind, scenario):
    made = world(scenario)
    dice = random.Random(1)  # noqa: S311
    with monkeypatch.context() as patch:
        without_syncs_of(kind, patch)
        recorder = recorded(made)
    points = points_of(recorder)
    assert any(losses(made, recorder, [point], 3, dice)[1] for point in dice.sample(points, len(points)))


def test_the_disk_keeps_what_was_synced_and_may_lose_the_rest(world, tmp_path):
    made = world("rollback")
    recorder = recorded(made)
    assert recorder.unsure(len(recorder.changes)) == []
    rename = next(
        at for at, change in enumerate(recorder.changes) if isinstance(change, Change) and change.kind == "rename"
    )
    assert rename in recorder.unsure(rename + 1)
    kept = set()
    for seed in range(20):
        recorder.build(rename + 1, tmp_path / str(seed), random.Random(seed))  # noqa: S311
        kept.add((tmp_path / str(seed) / "state.json").read_bytes())
    assert len(kept) == 2  # the old and the new state, both whole
