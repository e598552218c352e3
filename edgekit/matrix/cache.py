"""A cache of finished stages: found by what they follow from, held to their digests, whole or not there at all.

An entry is a folder named after the digest of its facts. Workers write into a folder of their own inside the cache,
which becomes an entry by one rename; what was damaged since then is found by its digest and removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.bundle.writing import output_error
from edgekit.errors import RecordError
from edgekit.spec.reader import parse_json

RECORD: Final = "entry.json"
FILES: Final = "files"
UNUSED_S: Final = 60 * 24 * 3600.0
_STAGING: Final = ".staging-"
_STALE_S: Final = 2 * 24 * 3600.0  # longer than any stage may take


@dataclass(frozen=True, slots=True)
class Key:
    """What a stage's result follows from.

    Attributes:
        stage: Its name.
        facts: JSON values; two stages with the same facts have the same result.
    """

    stage: str
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the facts in canonical form."""
        text = json.dumps({"stage": self.stage, "facts": self.facts}, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """Finished stages in a folder, which several programs may share.

    Args:
        folder: Made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged: list[str] = []

    def staging(self) -> Path:
        """A new empty folder, to be filled and then given to :meth:`add` or :meth:`drop`.

        Raises:
            OutputError: It cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
        except OSError as error:
            raise output_error(self._folder, "the cache cannot be written", error) from error

    def drop(self, staged: Path) -> None:
        """Remove a folder that will be no entry."""
        shutil.rmtree(staged, ignore_errors=True)

    def add(self, key: Key, staged: Path) -> Path:
        """Make a filled folder the entry of a key; where another program was first, its entry stays.

        Returns:
            The folder of its files.

        Raises:
            OutputError: It cannot be written.
        """
        place = self._place(key)
        record = {"stage": key.stage, "facts": dict(key.facts), "files": _digests(staged)}
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            whole = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
            staged.rename(whole / FILES)
            (whole / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
            try:
                whole.rename(place)
            except OSError:
                if not (place / RECORD).is_file():
                    raise
                shutil.rmtree(whole, ignore_errors=True)
        except OSError as error:
            raise output_error(place, "the cache cannot be written", error) from error
        return place / FILES

    def find(self, key: Key) -> Path | None:
        """The folder of an entry's files, every byte verified; None where there is none.

        A damaged entry is removed, so that it is made again, and named in :attr:`damaged`.
        """
        place = self._place(key)
        if not place.is_dir():
            return None
        if not _whole(place, key):
            self.damaged.append(f"{key.stage}-{key.digest[:16]}")
            shutil.rmtree(place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):  # of a cache that may only be read
            os.utime(place / RECORD)
        return place / FILES

    def prune(self, unused_s: float = UNUSED_S) -> None:
        """Remove entries that nobody used for so many seconds, and what programs that were killed left behind."""
        if not self._folder.is_dir():
            return
        now = time.time()
        for place in self._folder.iterdir():
            staging = place.name.startswith(_STAGING)
            marked, limit = (place, _STALE_S) if staging else (place / RECORD, unused_s)
            with contextlib.suppress(OSError):  # another program removed it just now
                if now - marked.stat().st_mtime > limit:
                    shutil.rmtree(place, ignore_errors=True)

    def _place(self, key: Key) -> Path:
        return self._folder / f"{key.stage}-{key.digest[:40]}"


def _whole(place: Path, key: Key) -> bool:
    try:
        table = parse_json((place / RECORD).read_bytes(), RECORD)
        return Key(table.string("stage"), table.raw("facts")).digest == key.digest and table.string_map(
            "files"
        ) == _digests(place / FILES)
    except (OSError, RecordError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path; a link, which nothing here writes, breaks the entry."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(folder).as_posix()] = "link"
        elif path.is_file():
            with path.open("rb") as stream:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
