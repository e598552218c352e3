"""Blobs: sent and fetched in pieces, resumed where a connection broke, and held to their digests all the way."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from edgekit.errors import IntegrityError, OutputError, RegistryError
from edgekit.registry.client import Broken, Client

if TYPE_CHECKING:
    import httpx2

PIECE_BYTES: Final = 16 << 20
TRIES: Final = 5
_CHUNK_BYTES: Final = 1 << 20
_TRY_ON: Final = frozenset({416, 500, 502, 503, 504})
_HINT: Final = "what the registry holds is damaged or was exchanged; ask whoever pushed it"

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Blob:
    """What a registry stores bytes by.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: In bytes.
    """

    digest: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """The blob that is some bytes."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def tries(client: Client, what: str) -> Iterator[int]:
    """Count the tries of something that may break, waiting a little longer before each, and give up after some.

    Use it in a ``for`` loop whose body leaves on success and passes over :class:`Broken`.

    Raises:
        RegistryError: They are used up.
    """
    for number in range(TRIES):
        if number:
            time.sleep(0.1 * 4 ** (number - 1))
        yield number
    raise RegistryError(
        f"{client.reference}: {what}: the connection failed {TRIES} times",
        hint="check the network; what was transferred is kept, and the next run goes on there",
    )


def exists(client: Client, blob: Blob) -> bool:
    """Whether the registry has a blob."""
    for _ in tries(client, blob.digest):
        try:
            with client.request("HEAD", f"blobs/{blob.digest}") as response:
                if response.status_code not in {200, 404}:
                    raise client.refused(response, blob.digest)
                return response.status_code == 200
        except Broken:
            continue
    raise AssertionError("unreachable")


def send(client: Client, blob: Blob, content: Callable[[], Iterable[bytes]], advance: Advance) -> None:
    """Send a blob, unless the registry has it.

    Args:
        client: With the right to write.
        blob: What it must be there.
        content: Called for its bytes, again if the registry forgot what it had.
        advance: Called with the number of bytes that are done, as they are.

    Raises:
        RegistryError: The registry does not take it.
    """
    if exists(client, blob):
        advance(blob.size)
        return
    furthest = _Furthest(advance)
    for _ in tries(client, blob.digest):
        try:
            location = _begin(client, blob)
            sent = 0
            for piece in _pieces(content()):
                location = _send_piece(client, location, sent, piece)
                sent += len(piece)
                furthest.reached(sent)
            _finish(client, location, blob)
        except Broken:
            continue
        return


def fetch(client: Client, blob: Blob, folder: Path, advance: Advance) -> Path:
    """Fetch a blob into a folder, going on where an earlier run stopped.

    Args:
        client: Of the repository.
        blob: What it must be.
        folder: Where it is kept, under its digest; while it is not whole, with ``.part`` behind.
        advance: Called with the number of bytes that are done, as they are.

    Returns:
        The file. Its content was hashed as it was written.

    Raises:
        IntegrityError: The registry sends something else; nothing of it is kept.
        RegistryError: The registry does not send it.
        OutputError: It cannot be written.
    """
    whole = folder / blob.digest.replace(":", "-")
    part = whole.with_name(whole.name + ".part")
    furthest = _Furthest(advance)
    if whole.exists():
        whole.replace(part)  # of an earlier run; hashed again below
    for _ in tries(client, blob.digest):
        try:
            found, resumed = _fill(client, blob, part, furthest)
        except Broken:
            continue
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be written: {error.strerror}", hint="free space on that disk"
            ) from error
        if found.size < blob.size:
            continue  # the body ended early
        if found == blob:
            part.replace(whole)
            return whole
        part.unlink()
        if not resumed:  # else it may be what an earlier run left
            problem = "more bytes than it says" if found.size > blob.size else "other bytes than its digest says"
            raise IntegrityError(f"{client.reference}: {blob.digest}: the registry sends {problem}", hint=_HINT)
    raise AssertionError("unreachable")


class _Furthest:
    """Counts bytes once, however often they are transferred."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._place = 0

    def reached(self, place: int) -> None:
        self._advance(max(0, place - self._place))
        self._place = max(self._place, place)


def _fill(client: Client, blob: Blob, part: Path, furthest: _Furthest) -> tuple[Blob, bool]:
    """Write what is missing of a blob; what the file then is, and whether it began with what was there before."""
    with part.open("ab") as stream:
        digest, have = _hashed(part, blob.size)
        resumed = have > 0
        stream.truncate(have)
        furthest.reached(have)
        for chunk in _received(client, blob, have):
            if chunk is None:  # from the start, not from there on
                digest, have, resumed = hashlib.sha256(), 0, False
                stream.truncate(0)
                continue
            have += len(chunk)
            if have > blob.size:
                break
            stream.write(chunk)
            digest.update(chunk)
            furthest.reached(have)
    return Blob(f"sha256:{digest.hexdigest()}", have), resumed


def fetch_small(client: Client, blob: Blob, limit: int) -> bytes:
    """A small blob's bytes.

    Raises:
        IntegrityError: The registry sends something else.
        RegistryError: It is over the limit, or not sent.
    """
    if blob.size > limit:
        raise RegistryError(f"{client.reference}: {blob.digest}: {blob.size} bytes are over the limit of {limit}")
    for _ in tries(client, blob.digest):
        try:
            with client.request("GET", f"blobs/{blob.digest}") as response:
                if response.status_code != 200:
                    raise client.refused(response, blob.digest)
                data = client.body(response, blob.size, blob.digest)
        except Broken:
            continue
        if Blob.of(data) != blob:
            raise IntegrityError(
                f"{client.reference}: {blob.digest}: the registry sends other bytes than its digest says", hint=_HINT
            )
        return data
    raise AssertionError("unreachable")


def _received(client: Client, blob: Blob, have: int) -> Iterator[bytes | None]:
    """The bytes from ``have`` on; None before the first where they come from the start instead."""
    if have == blob.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.request("GET", f"blobs/{blob.digest}", headers=headers) as response:
        if have and response.status_code == 206:
            said = response.headers.get("Content-Range", "")
            if not re.match(rf"bytes {have}-\d+/", said):
                raise RegistryError(f"{client.reference}: {blob.digest}: asked for byte {have} on, got {said!r}")
        elif response.status_code == 200:
            yield None
        elif have and response.status_code == 416:
            yield None
            raise Broken("the registry knows no such range")
        else:
            raise client.refused(response, blob.digest)
        yield from response.iter_raw()  # as it comes: what is held back is lost when the connection breaks


def _hashed(part: Path, limit: int) -> tuple[hashlib._Hash, int]:
    """Digest and length of what an earlier run left, as far as it can be of use."""
    digest, have = hashlib.sha256(), 0
    with part.open("rb") as stream:
        while have < limit and (chunk := stream.read(min(_CHUNK_BYTES, limit - have))):
            digest.update(chunk)
            have += len(chunk)
    return digest, have


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for chunk in content:
        piece += chunk
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _begin(client: Client, blob: Blob) -> str:
    with client.request("POST", "blobs/uploads/", headers={"Content-Length": "0"}) as response:
        if response.status_code != 202:
            raise client.refused(response, blob.digest)
        return _location(client, response)


def _send_piece(client: Client, location: str, start: int, piece: bytes) -> str:
    """Send bytes ``start`` on, and what is missing of them again where the connection breaks."""
    sent = 0
    for _ in tries(client, "upload"):
        rest = piece[sent:]
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{start + sent}-{start + len(piece) - 1}",
        }
        try:
            with client.request("PATCH", location, headers=headers, content=rest) as response:
                if response.status_code in {202, 204}:
                    return _location(client, response)
                if response.status_code not in _TRY_ON:
                    raise client.refused(response, "upload")
        except Broken:
            pass  # how far it came, the registry knows
        location, have = _progress(client, location)
        if not start <= have <= start + len(piece):
            raise Broken("the registry forgot a part of the upload")
        sent = have - start
        if sent == len(piece):
            return location
    raise AssertionError("unreachable")


def _progress(client: Client, location: str) -> tuple[str, int]:
    """Where an upload goes on, and how many bytes the registry has of it."""
    with client.request("GET", location) as response:
        if response.status_code != 204:
            raise Broken(f"the registry answers {response.status_code} for an upload that it had begun")
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("Range", ""))
        last = int(match[1]) if match else -1
        # "0-0" is what registries answer both for one byte and for none.
        return _location(client, response, location), last + 1 if last > 0 else 0


def _finish(client: Client, location: str, blob: Blob) -> None:
    address = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': blob.digest})}"
    with client.request("PUT", address, headers={"Content-Length": "0"}) as response:
        if response.status_code != 201:
            raise client.refused(response, blob.digest)


def _location(client: Client, response: httpx2.Response, instead: str = "") -> str:
    location = str(response.headers.get("Location", "")) or instead
    if not location:
        raise RegistryError(f"{client.reference.host}: names no place to send an upload to")
    return str(response.request.url.join(location))


def remove_parts(folder: Path) -> None:
    """Remove what :func:`fetch` kept, whole or not, and the folder if nothing else is in it."""
    for path in folder.glob("sha256-*"):
        path.unlink()
    if not any(os.scandir(folder)):
        folder.rmdir()
