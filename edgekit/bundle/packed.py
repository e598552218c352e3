"""A bundle in one file: an uncompressed tar whose every byte follows from ``edgekit.json`` and the contents.

The reader takes nothing from the archive but the sizes of ``edgekit.json`` and of the signature. Every
other header it computes from the manifest and compares: there is no name, size, link or device to
believe, and one file means one bundle and nothing else. Tar as POSIX.1-2017 describes it (``pax``, "ustar
Interchange Format" and "pax Header Block"); docs/decisions/0012-packed-file.md says why tar.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.bundle.folder import READ_FLAGS, Stream, read_error
from edgekit.errors import IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES, SIGNATURE_NAME, FileEntry

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)

_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_LARGEST_USTAR: Final = 8**11 - 1
_HINT: Final = "the file is damaged or was changed; get it again, or make it with `edgekit pack`"


def member_header(path: str, size: int) -> bytes:
    """What stands before a member's content.

    One block, where a ustar header can say it. A path that is not ASCII or does not fit its fields, or 8 GiB and
    more, are said by a pax header before it.

    Args:
        path: As :func:`~edgekit.bundle.paths.check_path` accepts it.
        size: In bytes.
    """
    records = b""
    fields = _fields(path)
    short = f"{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    if fields is None:
        records += _record("path", path.encode())
        fields = (b"", f"pax/{short}".encode())  # for a program that knows no pax headers
    if size > _LARGEST_USTAR:
        records += _record("size", str(size).encode())
    header = _ustar(*fields, size if size <= _LARGEST_USTAR else 0, b"0")
    if not records:
        return header
    return _ustar(b"", f"PaxHeaders/{short}".encode(), len(records), b"x") + records + padding(len(records)) + header


def padding(size: int) -> bytes:
    """The zeros that fill a content's last block."""
    return bytes(-size % BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a packed bundle.

    Attributes:
        path: Its name.
        size: Of its content, in bytes.
        before: What stands between the content before it and its own: padding and header.
        offset: Where its content starts, in bytes from the start of the file; a multiple of 512.
    """

    path: str
    size: int
    before: bytes
    offset: int


def members(manifest_size: int, signature_size: int | None, entries: Iterable[FileEntry]) -> Iterator[Member]:
    """The members of a packed bundle, in their order: the manifest, the signature if any, the files by path."""
    listed = [(MANIFEST_NAME, manifest_size)]
    listed += [] if signature_size is None else [(SIGNATURE_NAME, signature_size)]
    listed += [(entry.path, entry.size) for entry in sorted(entries, key=lambda entry: entry.path)]
    end = last = 0
    for path, size in listed:
        before = padding(last) + member_header(path, size)
        member = Member(path, size, before, end + len(before))
        yield member
        end, last = member.offset + size, size


class PackedFiles:
    """The files of a bundle in one file; see :class:`~edgekit.bundle.reading.Files`."""

    def __init__(self, file: Path) -> None:
        self.root = file
        self._places: dict[str, tuple[int, int]] = {}  # offset and size by path

    def manifest(self) -> bytes:
        """The bytes of ``edgekit.json``."""
        with self._open() as stream:
            size = _first_size(self.root, _exactly(stream, BLOCK))
            data = _exactly(stream, size)
        if len(data) != size:
            raise IntegrityError(f"{self.root.name}: ends within {MANIFEST_NAME}", hint=_HINT)
        return data

    def signature(self) -> bytes | None:
        """The bytes of the signature, if there is one. Needs :meth:`check` before."""
        if SIGNATURE_NAME not in self._places:
            return None
        with self.open(SIGNATURE_NAME) as stream:
            return _exactly(stream, self._places[SIGNATURE_NAME][1])

    def check(self, manifest_size: int, entries: Iterable[FileEntry]) -> None:
        """Compare everything that is no content with what it must be; note where each content starts.

        Raises:
            IntegrityError: One byte of it differs, or the file is longer or shorter.
        """
        entries = sorted(entries, key=lambda entry: entry.path)
        with self._open() as stream:
            signature = self._find_signature(stream, manifest_size)
            found = list(members(manifest_size, signature, entries))
            end = padding(found[-1].size) + END
            self._check_length(os.fstat(stream.fileno()).st_size, found[-1].offset + found[-1].size + len(end))
            for member in found:
                self._compare(stream, member.offset - len(member.before), member.before, f"the header of {member.path}")
            self._compare(stream, found[-1].offset + found[-1].size, end, "the end")
        self._places = {member.path: (member.offset, member.size) for member in found}

    @contextmanager
    def open(self, path: str) -> Iterator[Stream]:
        """Open a member's content for reading."""
        offset, size = self._places[path]
        with self._open() as stream:
            stream.seek(offset)
            yield _Part(stream, size)

    @contextmanager
    def _open(self) -> Iterator[io.FileIO]:
        try:
            descriptor = os.open(self.root, READ_FLAGS)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise IntegrityError(f"{self.root.name}: is not a regular file", hint=_HINT)
            with io.FileIO(descriptor) as stream:
                yield stream
        except OSError as error:
            raise read_error(self.root.name, error) from error

    def _find_signature(self, stream: io.FileIO, manifest_size: int) -> int | None:
        stream.seek(BLOCK + manifest_size + len(padding(manifest_size)))
        size = _size_of(_exactly(stream, BLOCK), SIGNATURE_NAME)
        if size is None:
            return None  # whatever it is instead, the comparison will say
        if not 1 <= size <= MAX_SIGNATURE_BYTES:
            raise IntegrityError(
                f"{SIGNATURE_NAME}: has {size} bytes, allowed are 1 to {MAX_SIGNATURE_BYTES}", hint=_HINT
            )
        return size

    def _check_length(self, found: int, expected: int) -> None:
        if found < expected:
            raise IntegrityError(f"{self.root.name}: is cut: has {found} bytes, expected are {expected}", hint=_HINT)
        if found > expected:
            raise IntegrityError(
                f"{self.root.name}: has {found - expected} bytes after its end at {expected}", hint=_HINT
            )

    def _compare(self, stream: io.FileIO, offset: int, expected: bytes, what: str) -> None:
        stream.seek(offset)
        found = _exactly(stream, len(expected))
        if found == expected:
            return
        at = next((place for place, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), 0)
        raise IntegrityError(
            f"{self.root.name}: byte {offset + at}: expected {what}, found other bytes"
            f"{_named(found[-BLOCK:]) if len(expected) >= BLOCK else ''}",
            hint=_HINT,
        )


class _Part:
    """So many bytes of a stream, from where it stands."""

    def __init__(self, stream: io.FileIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left)) or b""
        self._left -= len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        count = self._stream.readinto(buffer[: self._left]) or 0
        self._left -= count
        return count


def _first_size(file: Path, block: bytes) -> int:
    size = _size_of(block, MANIFEST_NAME)
    if size is not None and size <= MAX_MANIFEST_BYTES:
        return size
    if size is not None:
        raise IntegrityError(f"{MANIFEST_NAME}: is over the limit of {MAX_MANIFEST_BYTES} bytes", hint=_HINT)
    problem = f"does not start with {MANIFEST_NAME} as a packed bundle does"
    if not block:
        problem = "is empty"
    elif block.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        problem = "is compressed; a packed bundle is not"
    raise IntegrityError(
        f"{file.name}: is no packed bundle: it {problem}{_named(block)}",
        hint=f"a bundle is a folder with {MANIFEST_NAME}, or one file made by `edgekit pack`",
    )


def _size_of(block: bytes, path: str) -> int | None:
    """The size that a block gives as the header of a path, if it is that header to the byte."""
    digits = block[124:135]
    if len(block) != BLOCK or not re.fullmatch(rb"[0-7]{11}", digits):
        return None
    size = int(digits, 8)
    return size if member_header(path, size) == block else None


def _named(block: bytes) -> str:
    name = block[:_NAME_BYTES].split(b"\0")[0]
    return f" (named {name.decode('utf-8', 'replace')!r})" if name and block[257:262] == b"ustar" else ""


def _exactly(stream: Stream, size: int) -> bytes:
    """As many bytes, fewer only at the file's end: one read may give less than is there."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _fields(path: str) -> tuple[bytes, bytes] | None:
    """Prefix and name of a ustar header, or None where the path does not fit them."""
    if not path.isascii():
        return None
    if len(path) <= _NAME_BYTES:
        return b"", path.encode()
    cut = path.rfind("/", 0, _PREFIX_BYTES + 1)
    if cut <= 0 or len(path) - cut - 1 > _NAME_BYTES:
        return None
    return path[:cut].encode(), path[cut + 1 :].encode()


def _record(key: str, value: bytes) -> bytes:
    """A pax record: its own length in decimal digits, those digits included, then ``key=value``."""
    body = f" {key}=".encode() + value + b"\n"
    length = len(body) + 1
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _ustar(prefix: bytes, name: bytes, size: int, kind: bytes) -> bytes:
    owner = b"0000000\0"
    head = name.ljust(_NAME_BYTES, b"\0") + b"0000644\0" + owner + owner + b"%011o\0" % size + b"%011o\0" % 0
    tail = kind + bytes(100) + b"ustar\0" + b"00" + bytes(64) + owner + owner + prefix.ljust(_PREFIX_BYTES, b"\0")
    tail += bytes(BLOCK - len(head) - 8 - len(tail))
    checksum = sum(head) + 8 * 0x20 + sum(tail)  # the field itself counts as spaces
    return head + b"%06o\0 " % checksum + tail
