"""run(): every cell of a matrix, from the cache where it can be, the rest side by side; and what came of each."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from edgekit.bundle.reading import Bundle
from edgekit.bundle.writing import check_destination, draft_folder, output_error, publish
from edgekit.errors import EdgekitError, IntegrityError, RecordError
from edgekit.matrix import cells, keys, work
from edgekit.matrix.cache import Cache, Key
from edgekit.matrix.cells import Cell, Found
from edgekit.matrix.engine import Done, Engine
from edgekit.matrix.outcome import Failure, Outcome, read_outcome
from edgekit.matrix.report import CellReport, MatrixReport, write
from edgekit.matrix.work import Job

_WAIT_S: Final = 0.5


class Watching(Protocol):
    """Told what happens. The command line draws it, and logs it where runs are tracked."""

    def running(self, names: Sequence[str], ended: int, total: int) -> None:
        """What is being done now, and how many cells have ended; told often."""

    def note(self, text: str) -> None:
        """Something worth a line, such as an entry of the cache that was damaged."""

    def ended(self, report: CellReport) -> None:
        """A cell has ended, and its bundle is in its place if there is one."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with.

    Attributes:
        start: Starts the engine; called only where something has to be done.
        place: For what a node must offer, where a job is done, as far as its verdict may depend on it.
        cache: Of finished stages.
        output: Folder of the report; bundles are where the cells say.
    """

    start: Callable[[], Engine]
    place: Callable[[Mapping[str, float]], Mapping[str, Any]]
    cache: Cache
    output: Path


def run(planned: Sequence[Cell], means: Means, watching: Watching) -> MatrixReport:
    """Make every cell. What fails in one stays in its report; ``matrix.json`` is written even when interrupted.

    Args:
        planned: From :func:`edgekit.matrix.cells.plan`.
        means: Engine, cache and places.
        watching: Told what happens.

    Raises:
        OutputError: The cache or the report cannot be written.
        HostError: There is no such cluster.
    """
    return _Run(planned, means, watching).run()


@dataclass(frozen=True, slots=True)
class _Open:
    """A cell that has to be made."""

    cell: Cell
    found: Found
    key: Key


class _Run:
    def __init__(self, planned: Sequence[Cell], means: Means, watching: Watching) -> None:
        self._planned = planned
        self._means = means
        self._cache = means.cache
        self._watching = watching
        self._reports: dict[str, CellReport] = {}
        self._found: dict[str, Found | Failure] = {}
        self._to_make: dict[str, list[_Open]] = {}  # by the job of the model that they wait for
        self._sent: dict[str, _Open] = {}  # by the name of their job

    def run(self) -> MatrixReport:
        start = time.monotonic()
        try:
            self._cache.prune()
            with contextlib.ExitStack() as stack:
                engine: Engine | None = None
                to_make = []
                for cell in self._planned:
                    if (made := self._look_up(cell)) is not None:
                        to_make.append(made)
                        # It takes seconds to be ready, in which the rest is looked up.
                        engine = engine or stack.enter_context(self._means.start())
                if engine:
                    self._make(engine, to_make)
        finally:
            report = MatrixReport(
                cells=tuple(self._reports.get(cell.spec.name) or CellReport(cell, None) for cell in self._planned),
                seconds=time.monotonic() - start,
                damaged=tuple(self._cache.damaged),
            )
            write(report, self._means.output)
        return report

    def _look_up(self, cell: Cell) -> _Open | None:
        """Take a cell from the cache; or what has to be made."""
        try:
            check_destination(cell.request.output, replace=True)
        except EdgekitError as error:
            self._end(cell, Outcome(failure=Failure.of(error)), None)
            return None
        found = self._find(cell)
        if isinstance(found, Failure):
            self._end(cell, Outcome(failure=found), None)
            return None
        key = keys.cell_key(found.key, cell.request, self._means.place(cell.spec.target.resources))
        files = self._kept(key)
        if files is None:
            return _Open(cell, found, key)
        self._end(cell, read_outcome(files).again(), files)
        return None

    def _find(self, cell: Cell) -> Found | Failure:
        name = cell.spec.model.name
        if name not in self._found:
            self._watching.running((f"{name}: find it",), len(self._reports), len(self._planned))
            try:
                self._found[name] = cells.find(cell)
            except EdgekitError as error:
                self._found[name] = Failure.of(error)
        return self._found[name]

    def _kept(self, key: Key) -> Path | None:
        """A sound entry of the cache; a damaged one is told of, and made again."""
        before = len(self._cache.damaged)
        files = self._cache.find(key)
        for name in self._cache.damaged[before:]:
            self._watching.note(f"{name} of the cache was damaged and is made again")
        return files

    def _make(self, engine: Engine, to_make: Sequence[_Open]) -> None:
        for one in to_make:  # models first: their cells wait for them
            name = f"{one.cell.spec.model.name}: the original"
            if name in self._to_make:
                self._to_make[name].append(one)
            elif (kept := self._kept(one.found.key)) is not None:
                self._send(engine, one, kept)
            else:
                self._to_make[name] = [one]
                engine.submit(_job(name, keys.ORIGINAL, one), None)
        while self._sent or self._to_make:
            done = engine.wait(_WAIT_S)
            self._watching.running(engine.running(), len(self._reports), len(self._planned))
            if done is None:
                continue
            if done.job.stage == keys.ORIGINAL:
                self._original_ended(engine, done)
            else:
                self._cell_ended(done)

    def _send(self, engine: Engine, one: _Open, kept: Path) -> None:
        job = _job(one.cell.spec.name, keys.CELL, one)
        seen = read_outcome(kept).peak_bytes or 0
        if one.cell.spec.model.memory_bytes is None:
            job = replace(job, memory_bytes=max(job.memory_bytes, seen))
        self._sent[job.name] = one
        engine.submit(job, kept)

    def _original_ended(self, engine: Engine, done: Done) -> None:
        waiting = self._to_make.pop(done.job.name)
        if done.outcome.failure:
            self._cache.drop(done.folder)
            for one in waiting:
                self._end(one.cell, done.outcome, None)
            return
        kept = self._cache.add(waiting[0].found.key, done.folder)
        self._watching.note(f"{done.job.name} is exported and was asked: {done.outcome.seconds:.1f} s")
        for one in waiting:
            self._send(engine, one, kept)

    def _cell_ended(self, done: Done) -> None:
        one = self._sent.pop(done.job.name)
        files = self._cache.add(one.key, done.folder) if done.outcome.final else None
        if files is None:
            self._cache.drop(done.folder)
        self._end(one.cell, done.outcome, files)

    def _end(self, cell: Cell, outcome: Outcome, files: Path | None) -> None:
        """Put a cell's bundle, or the evidence of why there is none, into its place, and report it."""
        output = cell.request.output
        if outcome.failure:
            outcome = replace(outcome, failure=work.located(outcome.failure, output))
        try:
            if files is None or outcome.failure:
                _remove_bundle(output)
            else:
                _put(files / work.BUNDLE, output)
            _put_evidence(files, CellReport(cell, outcome).evidence)
        except EdgekitError as error:
            outcome = replace(outcome, failure=outcome.failure or Failure.of(error))
        report = CellReport(cell, outcome)
        self._reports[cell.spec.name] = report
        self._watching.ended(report)


def _job(name: str, stage: str, one: _Open) -> Job:
    return Job(
        name=name,
        stage=stage,
        request=one.cell.request,
        files=one.found.files,
        tools=keys.tools(),
        memory_bytes=one.found.memory_bytes,
        resources=one.cell.spec.target.resources if stage == keys.CELL else {},
    )


def _put(bundle: Path, output: Path) -> None:
    """Copy a bundle to its place, unless the same one is there, whole, perhaps with a signature."""
    try:
        there = Bundle.open(output)
        there.verify()
        if there.manifest_sha256 == Bundle.open(bundle).manifest_sha256:
            return
    except (OSError, IntegrityError, RecordError):
        pass  # nothing, or another one, which publish() replaces if it may
    with draft_folder(output) as folder:
        try:
            shutil.copytree(bundle, folder / work.BUNDLE)
        except (OSError, shutil.Error) as error:
            raise output_error(output, "cannot be written", _os_error(error)) from error
        publish(folder / work.BUNDLE, output, replace=True)


def _remove_bundle(output: Path) -> None:
    """Remove what an earlier run made of a cell that fails now: nobody shall ship it."""
    if not os.path.lexists(output):
        return
    check_destination(output, replace=True)
    try:
        shutil.rmtree(output)
    except OSError as error:
        raise output_error(output, "the bundle of an earlier run cannot be removed", error) from error


def _put_evidence(files: Path | None, place: Path) -> None:
    source = files / work.EVIDENCE if files is not None else None
    try:
        if place.is_dir():
            shutil.rmtree(place)
        if source is not None and source.is_dir():
            shutil.copytree(source, place)
    except (OSError, shutil.Error) as error:
        raise output_error(place, "the evidence cannot be written", _os_error(error)) from error


def _os_error(error: OSError) -> OSError:
    """The first one inside what copytree gathers, with its number."""
    inner = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    if isinstance(inner, list) and inner:
        return OSError(None, str(inner[0][-1]))
    return error
