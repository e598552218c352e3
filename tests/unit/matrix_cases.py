"""A matrix of two models whose checkpoints are a few bytes, planned and run on an engine with played jobs."""

import json
import threading
from pathlib import Path

from edgekit.matrix import keys
from edgekit.matrix.cache import Cache
from edgekit.matrix.cells import plan
from edgekit.matrix.processes import Limits, Processes
from edgekit.matrix.running import Means, run
from edgekit.spec.matrix import Matrix
from edgekit.spec.reader import parse_toml

from . import played_jobs

SPEC = """
models = ["one", "two"]
targets = ["x86_64-avx2", "arm64-neon"]
recipes = ["climb", "fp32"]
"""
CELLS = [f"{model}/{target}/{recipe}" for model in ("one", "two") for target in ("x86_64-avx2", "arm64-neon")
         for recipe in ("climb", "fp32")]  # fmt: skip
ORIGINALS = ["one: the original", "two: the original"]
LIMITS = Limits(workers=2, threads=1, memory_bytes=4_000_000_000, seconds=120)


class Watched:
    """Keeps what it is told."""

    def __init__(self):
        self.ended_cells = []
        self.notes = []
        self.together = 0

    def running(self, names, ended, total):
        self.together = max(self.together, len(names))

    def note(self, text):
        self.notes.append(text)

    def ended(self, report):
        self.ended_cells.append(report.cell.spec.name)


class Case:
    """Folders of one test, and ways to run a matrix in them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.plays = folder / "plays"
        self.plays.mkdir()
        self.output = folder / "out"
        self.cache = folder / "cache"
        self.watched = Watched()
        for name in ("one", "two"):
            (folder / name).mkdir()
            (folder / name / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "n": name}))
            (folder / name / "model.safetensors").write_bytes(name.encode())

    def play(self, job: str, end: str) -> Path:
        """Let a job end so."""
        path = self.plays / f"{job.replace('/', '_')}.{end}"
        path.touch()
        return path

    def planned(self, spec: str = SPEC):
        return plan(Matrix.read(parse_toml(spec, "matrix.toml")), self.folder, self.output, str(self.plays))

    def run(self, spec: str = SPEC, limits: Limits = LIMITS, start=None):
        self.watched = Watched()
        cache = Cache(self.cache)
        start = start or (lambda: Processes(limits, cache, played_jobs.perform, preload=("tests.unit.matrix_cases",)))
        return run(self.planned(spec), Means(start, lambda _: {"place": "here"}, cache, self.output), self.watched)

    def on_ray(self, address, spec: str = SPEC):
        from edgekit.matrix.on_ray import RayCluster

        cache = Cache(self.cache)
        self.watched = Watched()
        means = Means(lambda: RayCluster(address, 1, cache, played_jobs.perform), keys.node_place, cache, self.output)
        return run(self.planned(spec), means, self.watched)

    def files(self) -> dict[str, bytes]:
        """All bundles, by path."""
        return {
            path.relative_to(self.output).as_posix(): path.read_bytes()
            for path in sorted(self.output.rglob("*"))
            if path.is_file() and path.parent != self.output
        }


def play_processes(monkeypatch):
    """Let the command line's own processes play their jobs."""
    from edgekit.matrix import processes

    def made(limits, cache):
        return Processes(limits, cache, played_jobs.perform, preload=("tests.unit.matrix_cases",))

    monkeypatch.setattr(processes, "Processes", made)


def later(seconds: float, what) -> threading.Timer:
    """Do something in a while."""
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()
    return timer


__all__ = ["CELLS", "LIMITS", "ORIGINALS", "SPEC", "Case", "later", "play_processes"]
