"""Environments for tests: real children of this Python with a fault planted in them, and ones that only pretend."""

import textwrap

from edgekit import catalog
from edgekit.bundle.reading import Bundle
from edgekit.portability.asked import Asked
from edgekit.portability.children import Limits
from edgekit.portability.jobs import Ran
from edgekit.portability.places import Native
from edgekit.portability.proving import prove_asked
from edgekit.runtime.golden import read_golden
from edgekit.runtime.host import Host
from edgekit.spec.progress import Silent

LIMITS = Limits(seconds=90, memory_bytes=2_000_000_000)

# Runs at the import of a module of the child's: which one says how far it came by then.
BEFORE_THE_PROBES = "edgekit.runtime.golden"
AFTER_THE_PROBES = "edgekit.runtime.embedding"


class Faulty(Native):
    """This machine's Python, in which a fault happens when a module is imported."""

    kind = "faulty"

    def __init__(self, folder, fault, at=AFTER_THE_PROBES):
        packages = folder / "packages"
        packages.mkdir()
        (packages / "sitecustomize.py").write_text(
            textwrap.dedent("""
                import sys

                class Fault:
                    def find_spec(self, name, path=None, target=None):
                        if name == {at!r}:
                            {fault}

                sys.meta_path.insert(0, Fault())
            """).format(at=at, fault=fault)
        )
        super().__init__((packages,))


class Pretended:
    """An environment that gives what it is told to, and counts how often it was asked."""

    kind = "pretended"

    def __init__(self, ran, host=None, missing=None):
        self.ran = ran
        self.asked = 0
        self._host = host or Host("x86_64", frozenset({"avx2", "fma"}), "pretended", "linux")
        self._missing = missing

    def prepare(self, progress):
        if self._missing:
            raise self._missing
        return {"cpu": "pretended"}

    def host(self):
        return self._host

    def run(self, job, folder, limits):
        self.asked += 1
        return self.ran(job) if callable(self.ran) else self.ran


def good_probes(job):
    return tuple(probe.judge(probe.expected) for probe in job.probes)


def right(job):
    """Every answer as on this machine, every probe exact."""
    bundle = Bundle.open(job.bundle)
    cases = read_golden(bytes(bundle.read(bundle.manifest.golden)))
    answers = [case.expected for case in cases]
    answers += _own_answers(job)[len(answers) :]
    return Ran(probes=good_probes(job), answers=tuple(answers))


def _own_answers(job):
    from edgekit.runtime.loading import open_variant

    bundle = Bundle.open(job.bundle)
    with open_variant(bundle, bundle.manifest.variant(job.variant), threads=1) as model:
        return [model.raw([case.input])[0] for case in job.sample]


def proved(bundle, place, *, name="somewhere", target=None, limits=LIMITS, device=None, decides=True):
    """The report of one environment, and its proof."""
    known = catalog.target(target) if target else None
    report = prove_asked(Bundle.open(bundle), [Asked(name, place, known, device, decides)], Silent(), limits)
    return report, report.proofs[0]
