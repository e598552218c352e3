"""Whatever is done in whatever order, the store is what a small model of it says, which follows docs/store.md."""

import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edgekit.bundle.store.checking import check, repair
from edgekit.bundle.store.collecting import collect
from edgekit.bundle.store.store import Store
from edgekit.errors import EdgekitError, HostError, ParityError

from .bundles import RELEASES, write_releases
from .conftest import MEMORY
from .scenarios import NAME, activate, damage_file, identity_of, install, machine_goes_down, passes, seen
from .shim import DEATHS, Died, Shim


class Model:
    """What the store should say, in the words of docs/store.md; a release stands for a version."""

    def __init__(self):
        self.active = self.previous = self.trial = self.starts = self.highest = 0
        self.status = {}

    def put_on_trial(self, release, allowed):
        if release == self.active:
            self.trial = self.starts = 0
            return True
        if release < self.highest and not allowed:
            return False
        self.trial, self.starts = release, 0
        return True

    def install(self, release, allowed):
        if release != self.active and release < self.highest and not allowed:
            return False
        if self.status.get(release) != "good":
            self.status[release] = "untested"
        return self.put_on_trial(release, allowed)

    def start(self):
        if self.starts == 3:
            self.fail(self.trial)
            return False
        self.starts += 1
        return True

    def passed(self):
        self.status[self.trial] = "good"
        self.previous, self.active = self.active, self.trial
        self.trial = self.starts = 0
        self.highest = max(self.highest, self.active)

    def fail(self, release):
        self.status[release] = "failed"
        if self.trial == release:
            self.trial = self.starts = 0
        if self.active == release:
            self.active, self.previous = self.previous, 0
        if self.previous == release:
            self.previous = 0

    def collectable(self):
        kept = {self.active, self.previous, self.trial}
        return [r for r, status in self.status.items() if r not in kept and (status == "failed" or r <= self.highest)]

    def seen(self):
        return (
            self.active,
            self.previous,
            self.trial,
            self.starts,
            self.highest,
            tuple(sorted(self.status.items())),
        )


def state_of(store):
    return seen(store) or (0, 0, 0, 0, 0, ())


def wrong(folder):
    raise ParityError("wrong answers")


def crashes(folder):
    raise HostError("the self-test crashed")


OUTCOMES = {"passes": passes, "wrong": wrong, "crashes": crashes, "machine goes down": machine_goes_down}
releases = st.sampled_from(RELEASES)
outcomes = st.sampled_from(sorted(OUTCOMES))


class StoreMachine(RuleBasedStateMachine):
    installable = None  # set by the test

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.store = Store(self.folder / "store")
        self.model = Model()
        self.leases = []
        self.shim = Shim()
        self.shim.__enter__()

    def teardown(self):
        for _, lease in self.leases:
            lease.release()
        self.shim.__exit__()
        shutil.rmtree(self.folder)

    def tested(self, outcome, *, last_word):
        """What a test of the trial does to the model."""
        if not self.model.trial:
            return
        trial = self.model.trial
        if not self.model.start():
            return
        if outcome == "passes":
            self.model.passed()
        elif outcome == "wrong" or (outcome == "crashes" and last_word):
            self.model.fail(trial)

    def quietly(self, work):
        with suppress(EdgekitError, RuntimeError):
            work()

    @rule(release=releases, outcome=outcomes, allowed=st.booleans())
    def install(self, release, outcome, allowed):
        if self.model.install(release, allowed):
            self.tested(outcome, last_word=True)
        self.quietly(lambda: install(self.store, self.installable[release], OUTCOMES[outcome], allow_downgrade=allowed))

    @rule(release=releases, allowed=st.booleans())
    def defer(self, release, allowed):
        self.model.install(release, allowed)
        self.quietly(lambda: install(self.store, self.installable[release], defer=True, allow_downgrade=allowed))

    @rule(outcome=outcomes)
    def start(self, outcome):
        self.tested(outcome, last_word=False)
        self.quietly(lambda: self.store.prove(NAME, OUTCOMES[outcome], patience_s=0, last_word=False))

    @precondition(lambda self: self.model.status)
    @rule(data=st.data(), outcome=outcomes, allowed=st.booleans())
    def activate(self, data, outcome, allowed):
        release = data.draw(st.sampled_from(sorted(self.model.status)))
        if self.model.put_on_trial(release, allowed):
            self.tested(outcome, last_word=True)
        self.quietly(lambda: activate(self.store, release, OUTCOMES[outcome], allow_downgrade=allowed))

    @rule()
    def roll_back(self):
        if self.model.previous:
            self.model.active, self.model.previous, self.model.trial, self.model.starts = self.model.previous, 0, 0, 0
        self.quietly(lambda: self.store.roll_back(NAME))

    @rule()
    def gc(self):
        for release in self.model.collectable():
            if release not in {held for held, _ in self.leases}:
                del self.model.status[release]
        collect(self.store)

    @precondition(lambda self: self.model.active and len(self.leases) < 3)
    @rule()
    def read(self):
        identity, lease = self.store.reader(NAME)
        assert identity == identity_of(self.store, self.model.active)
        self.leases.append((self.model.active, lease))

    @precondition(lambda self: self.leases)
    @rule()
    def stop_reading(self):
        self.leases.pop(0)[1].release()

    @precondition(lambda self: self.model.active and not self.leases)
    @rule()
    def rot_and_repair(self):
        damage_file(self.store, self.model.active)
        assert check(self.store).damage
        release = self.model.active
        self.model.fail(release)
        repair(self.store)
        damage_file(self.store, release)  # whole again: what is failed may be tested again

    @precondition(lambda self: self.model.active)
    @rule()
    def rot_and_install_again(self):
        release = self.model.active
        damage_file(self.store, release)
        assert check(self.store).damage
        install(self.store, self.installable[release])
        self.model.trial = self.model.starts = 0

    @precondition(lambda self: (self.folder / "store" / "state.copy.json").exists())
    @rule(garbage=st.sampled_from([b"", bytes(300), b"{"]))
    def state_is_torn(self, garbage):
        (self.folder / "store" / "state.json").write_bytes(garbage)
        assert state_of(self.store) == self.model.seen()
        repair(self.store)

    @precondition(lambda self: self.model.status)
    @rule(release=releases, at=st.integers(1, 220), seed=st.integers(0, 9))
    def killed_in_an_install(self, release, at, seed):
        """The model takes over what it finds, when that is what an install can leave."""
        allowed = [self.model.seen()]
        self.model.install(release, allowed=True)
        allowed.append(self.model.seen())
        if self.model.trial:
            self.model.start()
            allowed.append(self.model.seen())
            self.model.passed()
            allowed.append(self.model.seen())
        dying = random.Random(seed).choice(DEATHS[:2])  # noqa: S311
        with suppress(Died), Shim(dying, at):
            install(self.store, self.installable[release], allow_downgrade=True)
        found = state_of(self.store)
        assert found in allowed
        active, previous, trial, starts, highest, status = found
        model = self.model
        model.active, model.previous, model.trial, model.starts = active, previous, trial, starts
        model.highest, model.status = highest, dict(status)

    @invariant()
    def is_what_the_model_says(self):
        if hasattr(self, "store"):
            assert state_of(self.store) == self.model.seen()
            assert not check(self.store).damage


def run_machine(bundles, examples, steps):
    kinds = type("Machine", (StoreMachine,), {"installable": bundles})
    run_state_machine_as_test(
        kinds,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # a history of a few steps needs no shrinking, which takes minutes here
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(scope="module")
def machine_bundles(tmp_path_factory):
    return write_releases(tmp_path_factory.mktemp("machine"))


def test_the_store_is_what_its_model_says(machine_bundles):
    run_machine(machine_bundles, examples=20, steps=15)


@pytest.mark.long
def test_the_store_is_what_its_model_says_for_long(machine_bundles, tally):
    run_machine(machine_bundles, examples=150, steps=30)
    tally("150 histories of up to 30 steps, 0 of them other than the model")
