"""Downloads that are what they are pinned to be: verified while they stream, put in place in one step, tried again."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

from edgekit.errors import HostError

ATTEMPTS: Final = 3
_CHUNK: Final = 1 << 18
_PAUSE_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 60

Open = Callable[[str], io.BufferedIOBase]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file on the network, known before it is fetched.

    Attributes:
        path: Behind a mirror's address.
        size: In bytes.
        sha256: 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


def fetch(pinned: Pinned, mirrors: Sequence[str], folder: Path, open_url: Open | None = None) -> Path:
    """The file, from the folder or fetched into it.

    A file that is there was put there whole and is not hashed again. One that stopped half-way is fetched from its
    beginning; those before it stay, so that trying again goes on where it was.

    Args:
        pinned: What to fetch.
        mirrors: Addresses to try, in order.
        folder: Where it goes, under its digest and name.
        open_url: Opens an address; the network where None.

    Raises:
        HostError: No mirror gives that very file, or the folder cannot be written.
    """
    place = folder / f"{pinned.sha256[:16]}-{pinned.path.rpartition('/')[2]}"
    if place.is_file() and place.stat().st_size == pinned.size:
        return place
    reasons: list[str] = []
    for attempt in range(ATTEMPTS):
        for mirror in mirrors:
            address = f"{mirror.rstrip('/')}/{pinned.path}"
            try:
                _fetch_once(pinned, address, place, open_url or _open)
            except (OSError, HTTPException, ValueError) as error:  # urllib.error.URLError is an OSError
                reasons.append(f"{address}: {error}")
            else:
                return place
        if attempt + 1 < ATTEMPTS:
            time.sleep(_PAUSE_SECONDS * 2**attempt)
    raise HostError(
        f"{pinned.path} cannot be fetched: {reasons[-1] if reasons else 'no mirror is known'}",
        hint="check the network and try again: what was fetched already is kept",
    )


@contextmanager
def made_whole(folder: Path) -> Iterator[Path | None]:
    """A new folder beside ``folder`` to fill, which takes its place when the block ends, or None where it is there.

    Two who fill the same one at once both succeed: the second one's work is dropped.

    Raises:
        HostError: The cache cannot be written.
    """
    if folder.is_dir():
        yield None
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        filling = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _cache_error(folder.parent, error) from error
    try:
        yield filling
        filling.chmod(0o755)
        try:
            filling.rename(folder)
        except OSError as error:
            if not folder.is_dir():
                raise _cache_error(folder, error) from error
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _fetch_once(pinned: Pinned, address: str, place: Path, open_url: Open) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    digest, count = hashlib.sha256(), 0
    descriptor, name = tempfile.mkstemp(prefix=".part-", dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as output, open_url(address) as stream:
            while chunk := stream.read(min(_CHUNK, pinned.size + 1 - count)):
                digest.update(chunk)
                output.write(chunk)
                count += len(chunk)
                if count > pinned.size:
                    raise ValueError(f"is longer than {pinned.size} bytes")
        if count != pinned.size or digest.hexdigest() != pinned.sha256:
            raise ValueError(
                f"{count} bytes with sha256 {digest.hexdigest()}, pinned are {pinned.size}, {pinned.sha256}"
            )
        Path(name).replace(place)
    finally:
        Path(name).unlink(missing_ok=True)


def _open(address: str) -> io.BufferedIOBase:
    if not address.startswith("https://"):
        raise ValueError("only https is read")
    request = urllib.request.Request(address, headers={"User-Agent": "edgekit"})  # noqa: S310 - https alone
    found: io.BufferedIOBase = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    return found


def _cache_error(folder: Path, error: OSError) -> HostError:
    return HostError(
        f"{folder}: the cache cannot be written: {error.strerror or error}",
        hint="free space on that disk, or name another cache with EDGEKIT_CACHE",
    )
