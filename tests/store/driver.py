"""Runs that fork and kill, in a process without threads: ``python -m tests.store.driver``. Prints counts as JSON.

Standard library and edgekit's device store only; what it forks is itself, so that a run costs milliseconds.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store.checking import check
from edgekit.bundle.store.collecting import collect, unlisted
from edgekit.bundle.store.store import Store
from edgekit.errors import EdgekitError, IntegrityError, UsageError

from .bundles import write_releases
from .parsed_once import parsed_once
from .scenarios import NAME, SCENARIOS, World, activate, install, passes, seen
from .shim import SIGKILL, Shim


def forked(work):
    """Run something in a child, which ends with 0 when it returns."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - a child has nowhere to raise to
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def waited(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_calls(scenario, folder, sample):
    """SIGKILL at the N-th call: at every one, or at a seeded sample of so many."""
    world = World(SCENARIOS[scenario], write_releases(folder / "bundles"), folder / "world")
    count = sum(world.call_counts.values())
    points = range(1, count + 1)
    if sample:
        points = sorted(random.Random(scenario).sample(points, sample))  # noqa: S311
    killed, problems = 0, []
    for at in points:
        store = world.fresh()

        def work(store=store, at=at):
            with Shim(SIGKILL, at):
                world.act(store)

        killed += waited(forked(work)) == -signal.SIGKILL
        problems += [f"{scenario} at {at}: {problem}" for problem in world.problems_after(store)]
    return {"runs": len(points), "killed": killed, "problems": problems}


def at_random(folder, installs, seed):
    """Installs one after the other in one store, each in a child that is killed at a random time."""
    dice = random.Random(seed)  # noqa: S311
    bundles = write_releases(folder / "bundles")
    store = Store(folder / "store")
    began = time.monotonic()
    install(Store(folder / "timed"), bundles[1])
    usual_s = time.monotonic() - began
    active, done, killed, lost, problems = 0, 0, 0, 0, []
    for number in range(installs):
        release = dice.choice(list(bundles))
        pid = forked(lambda release=release: install(store, bundles[release], passes, allow_downgrade=True))
        time.sleep(dice.uniform(0, 2 * usual_s))
        os.kill(pid, signal.SIGKILL)
        code = waited(pid)
        killed += code == -signal.SIGKILL
        usual_s *= 0.9 if code == 0 else 1.1  # about every other install is to come to its end, however busy it is here
        found = seen(store)
        now = found[0] if found else 0
        if code == 0:
            done += 1
            lost += now != release
        if now not in {active, release}:
            problems.append(f"install {number} of release {release}: active is {now}, was {active}")
        active = now
        problems += [f"install {number}: {damage}" for damage in check(store).damage]
        if number % 10 == 9:
            collect(store)
            problems += [f"install {number}: left {path}" for path in unlisted(store, store.state())]
            active = seen(store)[0]
    return {"installs": installs, "done": done, "killed": killed, "lost": lost, "problems": problems}


def together(folder, processes, operations, seed):
    """Processes that do whatever they like to one store at once."""
    bundles = write_releases(folder / "bundles")
    store = Store(folder / "store")
    install(store, bundles[1])
    pids = [
        forked(lambda number=number: _one_of_many(store, bundles, operations, seed + number))
        for number in range(processes)
    ]
    codes = [waited(pid) for pid in pids]
    problems = [f"process {number} ended with {code}" for number, code in enumerate(codes) if code]
    problems += check(store).damage
    collect(store)
    problems += [f"left {path}" for path in unlisted(store, store.state())]
    return {
        "processes": processes,
        "operations": processes * operations,
        "commits": store.state().generation,
        "problems": problems,
    }


def _one_of_many(store, bundles, operations, seed):
    dice = random.Random(seed)  # noqa: S311
    verbs = {
        "install": lambda: install(store, bundles[dice.choice(list(bundles))], allow_downgrade=dice.random() < 0.5),
        "activate": lambda: activate(store, dice.choice(list(bundles)), allow_downgrade=True),
        "rollback": lambda: store.roll_back(NAME),
        "gc": lambda: collect(store),
        "read": lambda: _read(store),
        "start": lambda: store.prove(NAME, passes, patience_s=0, last_word=False),
    }
    for _ in range(operations):
        verb = dice.choice([*verbs, "read", "read"])
        try:
            verbs[verb]()
        except UsageError:
            pass  # nothing to go back to; not installed any more
        except StopIteration:
            pass  # that release was removed
        except IntegrityError as error:
            if "is older than" not in error.message:
                raise
        report = check(store)
        if report.damage:
            raise AssertionError(report.damage)


def _read(store):
    identity, lease = store.reader(NAME)
    try:
        for _ in range(3):
            Bundle.open(store.folder(identity)).verify()  # whole for as long as the lease is held
            time.sleep(0.002)
    finally:
        lease.release()


def hold_lock(folder):
    """Take the store's lock and the trial's, say so, and wait to be killed."""
    from edgekit.bundle.store.locks import held

    with held(folder / "lock", patience_s=1), held(folder / "trial.lock", patience_s=1):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        time.sleep(600)


def main(arguments):
    mode, *rest = arguments
    if mode == "at-calls":
        result = at_calls(rest[0], Path(rest[1]), int(rest[2]))
    elif mode == "at-random":
        result = at_random(Path(rest[0]), int(rest[1]), int(rest[2]))
    elif mode == "together":
        result = together(Path(rest[0]), int(rest[1]), int(rest[2]), int(rest[3]))
    else:
        hold_lock(Path(rest[0]))
        return
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    try:
        with parsed_once():
            main(sys.argv[1:])
    except EdgekitError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
