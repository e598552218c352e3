"""What can be done to a store, from which state, and what it may look like when that was cut short."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store.checking import check, repair
from edgekit.bundle.store.collecting import collect, unlisted
from edgekit.bundle.store.state_file import COPY_NAME, STATE_NAME, examine
from edgekit.bundle.store.store import Store
from edgekit.bundle.store.trust import policy_of
from edgekit.bundle.trust import Trust
from edgekit.errors import EdgekitError, ParityError

from .shim import Shim

NAME = "tiny"


def passes(folder):
    """A self-test that passes where the files are whole."""
    Bundle.open(folder).verify()
    return True


def fails(folder):
    raise ParityError("wrong answers", hint="as planned")


def install(store, bundle, test=passes, *, defer=False, **options):
    store.install(Bundle.open(bundle), policy_of(Trust()), **options)
    if not defer:
        store.prove(NAME, test, patience_s=10)


def activate(store, release, test=passes, **options):
    store.choose(NAME, identity_of(store, release), **options)
    store.prove(NAME, test, patience_s=10)


def identity_of(store, release):
    versions = store.state().slot(NAME).versions
    return next(identity for identity, version in versions.items() if version.release == release)


def seen(store):
    """What the store says, with releases for ids: the slot of the one name, or None where there is no store yet."""
    slot = examine(store.root).state.slots.get(NAME)
    if slot is None:
        return None
    release = {"": 0} | {identity: version.release for identity, version in slot.versions.items()}
    return (
        release[slot.active],
        release[slot.previous],
        release[slot.trial],
        slot.attempts,
        slot.highest_release,
        tuple(sorted((version.release, version.status) for version in slot.versions.values())),
    )


def damage_file(store, release, name="model/int8/model.onnx"):
    path = store.folder(identity_of(store, release)) / name
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def leave_rests(store):
    """What crashed installs leave behind."""
    shutil.copytree(store.folder(identity_of(store, 2)), store.root / "staging" / "0123456789abcdef" / "new")
    shutil.copytree(store.folder(identity_of(store, 2)), store.root / "versions" / ("ab" * 32))
    (store.root / ".state.json.new").write_bytes(b"{")


@dataclass(frozen=True)
class Scenario:
    """An operation on a prepared store; doing it again after it was cut short must lead to the same end."""

    name: str
    prepare: Callable
    act: Callable
    damaged: bool = False  # there is damage until the operation is through


def two_installed(store, bundles):
    install(store, bundles[1])
    install(store, bundles[2])


def two_and_rests(store, bundles):
    two_installed(store, bundles)
    install(store, bundles[3])
    leave_rests(store)


def two_and_a_damaged_one(store, bundles):
    two_installed(store, bundles)
    damage_file(store, 2)


def trial_waiting(store, bundles):
    install(store, bundles[1])
    install(store, bundles[2], defer=True)


def starts_used_up(store, bundles):
    trial_waiting(store, bundles)
    for _ in range(3):
        with suppress(RuntimeError):
            store.prove(NAME, machine_goes_down, last_word=False)


def machine_goes_down(folder):
    raise RuntimeError("nobody sees how this start ends")


def state_zeroed(store, bundles):
    two_installed(store, bundles)
    (store.root / STATE_NAME).write_bytes(bytes(200))


def both_states_gone(store, bundles):
    two_installed(store, bundles)
    (store.root / STATE_NAME).write_bytes(b"")
    (store.root / COPY_NAME).unlink()


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first install", lambda s, b: None, lambda s, b: install(s, b[1])),
        Scenario("upgrade", lambda s, b: install(s, b[1]), lambda s, b: install(s, b[2])),
        Scenario("upgrade that fails its test", lambda s, b: install(s, b[1]), lambda s, b: install(s, b[2], fails)),
        Scenario("activate", two_installed, lambda s, b: activate(s, 1, allow_downgrade=True)),
        Scenario("rollback", two_installed, lambda s, b: s.roll_back(NAME)),
        Scenario("gc", two_and_rests, lambda s, b: collect(s)),
        Scenario("start of a trial", trial_waiting, lambda s, b: s.prove(NAME, passes, last_word=False)),
        Scenario("giving a trial up", starts_used_up, lambda s, b: s.prove(NAME, passes, last_word=False)),
        Scenario("install over damage", two_and_a_damaged_one, lambda s, b: install(s, b[2]), damaged=True),
        Scenario("repair", two_and_a_damaged_one, lambda s, b: repair(s), damaged=True),
        Scenario("recovery of a zeroed state", state_zeroed, lambda s, b: install(s, b[3]), damaged=True),
        Scenario("recovery of a lost state", both_states_gone, lambda s, b: activate(s, 2), damaged=True),
    )
}


class World:
    """A scenario made ready once, of which each run gets a fresh copy."""

    def __init__(self, scenario: Scenario, bundles: dict, folder: Path) -> None:
        self.scenario = scenario
        self.bundles = bundles
        self.template = folder / "template"
        self.folder = folder
        folder.mkdir()
        with Shim():
            scenario.prepare(Store(self.template), bundles)
        self.legal, self.call_counts = self._clean_run()

    def fresh(self) -> Store:
        root = self.folder / "run"
        shutil.rmtree(root, ignore_errors=True)
        if self.template.exists():
            shutil.copytree(self.template, root)
        return Store(root)

    def act(self, store: Store) -> EdgekitError | None:
        try:
            self.scenario.act(store, self.bundles)
        except EdgekitError as error:
            return error
        return None

    def _clean_run(self):
        """What the store looks like after each commit; how often each call is made."""
        store = self.fresh()
        legal = [seen(store)]
        counts: dict[str, int] = {}

        def watch(name, arguments, result):
            counts[name] = counts.get(name, 0) + 1
            if name == "rename" and arguments[1].name == STATE_NAME:
                legal.append(seen_now(store))

        def seen_now(store):
            shim.watch = None  # looking makes calls too
            found = seen(store)
            shim.watch = watch
            return found

        with Shim(watch=watch) as shim:
            self.act(store)
        return legal, counts

    @property
    def final(self):
        return self.legal[-1]

    def problems_after(self, store: Store, *, least: int = 0, most: int | None = None, starts: int = 1) -> list[str]:
        """What is wrong with a store whose operation was cut short: it must be old or new, whole, and ready to go on.

        Args:
            store: As it was left.
            least: Commits that were reported as done, and so may not be lost.
            most: Commits that may have happened; all of them where None.
            starts: How often the operation was begun: each time may have burned a start of a trial.
        """
        problems = []
        found = seen(store)
        allowed = self.legal[least:] if most is None else self.legal[least : most + 1]
        burned = [
            (*state[:3], times, *state[4:])
            for state in allowed
            if state and state[3] == 1
            for times in range(2, starts + 1)
        ]
        if found not in [*allowed, *burned]:
            problems.append(f"state {found} is none of {allowed}")
        report = check(store)
        if report.damage and not self.scenario.damaged:
            problems.append(f"damage: {report.damage}")
        with Shim():
            self.act(store)
            if seen(store) != self.final:
                problems.append(f"done again it ends in {seen(store)}, expected {self.final}")
            collect(store)
        report = check(store)
        if report.damage:
            problems.append(f"damage after a retry: {report.damage}")
        if left := unlisted(store, store.state()):
            problems.append(f"left behind: {left}")
        return problems
