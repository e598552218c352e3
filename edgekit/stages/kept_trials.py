"""Kept trials: what a search has made and judged already, so that an interrupted one goes on where it was.

A trial is found by a digest of everything that it follows from: the recipe, the float graphs, the data, the budget
and the code's version. Its folder appears whole or not at all, its files are held to their digests, so that what ships
is what was judged, and the search removes all of them when it is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError, RecordError
from edgekit.spec.manifest import Variant
from edgekit.spec.parity import Parity
from edgekit.spec.reader import parse_json
from edgekit.stages.evidence import Trial

RECORD = "trial.json"
FILES = "files"
_OURS = re.compile(r".+-[0-9a-f]{16}(\.partial)?")


class KeptTrials:
    """Trials in a folder beside the bundle that is being made.

    Args:
        folder: Made when the first trial is kept.
        facts: What every trial of this search follows from.
    """

    def __init__(self, folder: Path, facts: Iterable[str]) -> None:
        self._folder = folder
        self._facts = tuple(facts)

    def find(self, recipe: str, variant: Variant, files: Path) -> tuple[Variant, Trial] | None:
        """A kept trial with its files copied to ``files``, or None where there is none or it is not whole.

        Raises:
            OutputError: The files cannot be copied.
        """
        place = self._place(recipe, variant)
        if not (place / RECORD).is_file():
            return None
        try:
            table = parse_json((place / RECORD).read_bytes(), str(place / RECORD))
            trial = Trial(
                recipe=variant.recipe,
                variant=variant.name,
                precision=table.string("precision"),
                targets=variant.targets,
                changed=table.string("changed", max_length=1 << 16),
                size_bytes=table.integer("size_bytes"),
                parity=Parity.read(table.table("parity")),
            )
            judged = replace(
                variant,
                parity=trial.parity.verdict,
                self_test_min=table.number("self_test_min"),
                runs_anywhere=table.boolean("runs_anywhere"),
            )
            digests = table.string_map("files")
        except RecordError:
            return None  # of another version: it is made again
        try:
            if _digests(place / FILES) != digests:
                return None
            if digests:
                _copy(place / FILES, files)
        except OSError as error:
            raise _output_error(place, "a kept trial cannot be copied", error) from error
        return judged, trial

    def keep(self, recipe: str, plain: Variant, judged: Variant, trial: Trial, files: Path) -> None:
        """Keep a trial.

        Args:
            recipe: Everything that makes it, as text.
            plain: The variant before it was judged, as :meth:`find` gets it.
            judged: And after.
            trial: The verdict.
            files: Folder of its files, if any were made.

        Raises:
            OutputError: It cannot be written.
        """
        place = self._place(recipe, plain)
        partial = place.with_name(f"{place.name}.partial")
        record: dict[str, Any] = {
            "precision": trial.precision,
            "changed": trial.changed,
            "size_bytes": trial.size_bytes,
            "parity": trial.parity.to_json(),
            "self_test_min": judged.self_test_min,
            "runs_anywhere": judged.runs_anywhere,
        }
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            record["files"] = _digests(files)
            if files.is_dir():
                _copy(files, partial / FILES)
            (partial / RECORD).write_text(json.dumps(record), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
        except OSError as error:
            raise _output_error(place, "a trial cannot be kept", error) from error

    def remove(self) -> None:
        """Remove all of them, and the folder unless something else is in it: the search is done."""
        if not self._folder.is_dir():
            return
        for place in self._folder.iterdir():
            if _OURS.fullmatch(place.name):
                shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _place(self, recipe: str, variant: Variant) -> Path:
        digest = hashlib.sha256("\0".join((*self._facts, recipe, variant.name, *variant.targets)).encode())
        return self._folder / f"{variant.name}-{digest.hexdigest()[:16]}"


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its name; empty where there is no folder."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():  # copytree would wrap a full disk's error, without its number
        shutil.copyfile(path, folder / path.name)


def _output_error(place: Path, problem: str, error: OSError) -> OutputError:
    return OutputError(
        f"{place}: {problem}: {error.strerror}", hint="free space on that disk, or name an output folder elsewhere"
    )
