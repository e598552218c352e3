"""Opening a bundle: nothing is used that was not hashed first, in memory nobody else can change."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from edgekit.bundle.folder import FolderFiles, Stream
from edgekit.bundle.packed import PackedFiles
from edgekit.bundle.paths import check_paths
from edgekit.errors import HostError, IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry, Manifest

_CHUNK_BYTES: Final = 1 << 20
_DAMAGED: Final = "the bundle is damaged or was changed; get it again"


class Files(Protocol):
    """Where a bundle's bytes lie: a folder, or one packed file.

    Everything it says is unverified but where it says so; :class:`Bundle` verifies.

    Attributes:
        root: The folder or file, absolute, links resolved.
    """

    root: Path

    def manifest(self) -> bytes:
        """The bytes of ``edgekit.json``, within its limit."""

    def signature(self) -> bytes | None:
        """The bytes of the signature, within their limit; None where there is none."""

    def check(self, manifest_size: int, entries: Iterable[FileEntry]) -> None:
        """Refuse whatever is there beside the manifest, the entries and a signature, and other sizes than listed."""

    def open(self, path: str) -> AbstractContextManager[Stream]:
        """Open a file for reading, from its start to its end."""


class Bundle:
    """An opened bundle; make one with :meth:`open`.

    Attributes:
        root: Its folder or file, absolute, links resolved when it was opened.
        manifest: What ``edgekit.json`` says.
        manifest_sha256: Digest of ``edgekit.json``; it names the bundle's whole content.
        manifest_size: Of ``edgekit.json``, in bytes.
    """

    def __init__(self, files: Files, data: bytes) -> None:
        self.root = files.root
        self.manifest = Manifest.from_json(data)
        self.manifest_sha256 = hashlib.sha256(data).hexdigest()
        self.manifest_size = len(data)
        self._files = files
        self._entries = {entry.path: entry for entry in self.manifest.files}
        check_paths([MANIFEST_NAME, SIGNATURE_NAME, *(entry.path for entry in self.manifest.files)])
        files.check(len(data), self.manifest.files)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open a bundle, a folder or a packed file: read its manifest and compare all names and sizes with it.

        Contents are not hashed here; :meth:`read` hashes what it hands out, :meth:`verify` everything.

        Raises:
            IntegrityError: It is no bundle, or holds something else than its manifest lists: a file missing, added,
                or of another size, a link, an empty folder; a packed file with one byte that is neither content
                nor what must stand around it.
        """
        files = _files(path)
        return cls(files, files.manifest())

    def entry(self, path: str) -> FileEntry:
        """What the manifest lists for a path.

        Raises:
            IntegrityError: The manifest does not list it.
        """
        try:
            return self._entries[path]
        except KeyError:
            raise IntegrityError(f"{path}: is not listed in {MANIFEST_NAME}", hint=_DAMAGED) from None

    def read(self, path: str) -> memoryview:
        """The whole content of a listed file, verified.

        The content is read once into private memory and hashed there, so what was verified is what
        the caller uses, whatever happens to the file afterwards. The memory starts at a page's
        boundary (64-byte alignment and more, where a ``bytearray`` gives 16), is writable, is not
        copied by ``numpy.frombuffer``, and is freed with its last view.

        Args:
            path: As listed.

        Returns:
            Bytes, writable, ``size`` of the entry long.

        Raises:
            IntegrityError: The file is not listed, missing, unreadable, or not what is listed.
            HostError: There is not enough memory for it.
        """
        entry = self.entry(path)
        content = _allocate(entry)
        digest = hashlib.sha256()
        filled = 0
        with self._files.open(path) as stream:
            while filled < entry.size:
                count = stream.readinto(content[filled : min(filled + _CHUNK_BYTES, entry.size)])
                if not count:
                    break
                digest.update(content[filled : filled + count])  # while the chunk is in the cache
                filled += count
            filled += len(stream.read(1) or b"")  # a file that grew
        _check_content(entry, filled, digest.hexdigest())
        return content

    def stream(self, path: str) -> Iterator[bytes]:
        """The content of a listed file in pieces of at most 1 MiB, for copying.

        What was received counts once the iterator has ended: only then is it known to be what is listed.

        Raises:
            IntegrityError: See :meth:`read`; at the end where only the content differs.
        """
        entry = self.entry(path)
        digest = hashlib.sha256()
        size = 0
        with self._files.open(path) as stream:
            while size < entry.size and (chunk := stream.read(min(_CHUNK_BYTES, entry.size - size))):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
            size += len(stream.read(1) or b"")  # a file that grew
        _check_content(entry, size, digest.hexdigest())

    def manifest_bytes(self) -> bytes:
        """The bytes of ``edgekit.json`` that was opened.

        Raises:
            IntegrityError: It was changed since.
        """
        data = self._files.manifest()
        if hashlib.sha256(data).hexdigest() != self.manifest_sha256:
            raise IntegrityError(f"{MANIFEST_NAME}: changed since the bundle was opened", hint="open it again")
        return data

    def signature_bytes(self) -> bytes | None:
        """The bytes of ``model.sig``, at most 8 MiB, **not verified** (no list can hold them); None without one.

        Raises:
            IntegrityError: It cannot be read.
        """
        return self._files.signature()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compare the listing and every byte of every file with the manifest. A signature is not judged here.

        Needs 1 MiB of memory, whatever the bundle's size.

        Args:
            progress: Called with (bytes done, bytes in all) after each mebibyte and each file.

        Raises:
            IntegrityError: Something is not what was listed when the bundle was opened.
        """
        self.manifest_bytes()
        self._files.check(self.manifest_size, self.manifest.files)
        total = sum(entry.size for entry in self._entries.values())
        done = 0
        for entry in self._entries.values():
            for chunk in self.stream(entry.path):
                done += len(chunk)
                if progress:
                    progress(done, total)
        if progress:
            progress(done, total)


def _files(path: str | os.PathLike[str]) -> Files:
    hint = f"a bundle is a folder with {MANIFEST_NAME}, or one file made by `edgekit pack`"
    try:
        root = Path(path).resolve(strict=True)
        if not root.is_dir():
            return PackedFiles(root)
        (root / MANIFEST_NAME).lstat()
    except FileNotFoundError as error:
        missing = "does not exist" if not os.path.lexists(path) else f"has no {MANIFEST_NAME}"
        raise IntegrityError(f"{path}: {missing}", hint=hint) from error
    except (OSError, ValueError, RuntimeError) as error:  # no permission; a NUL in the path; a loop of links
        raise IntegrityError(f"{str(path)!r}: cannot be opened: {error}", hint=hint) from error
    return FolderFiles(root)


def _allocate(entry: FileEntry) -> memoryview:
    if not entry.size:
        return memoryview(bytearray())
    try:
        # Anonymous pages: aligned, and zeroed by the kernel when touched instead of in one pass before.
        if os.name == "nt":
            return memoryview(mmap.mmap(-1, entry.size))
        return memoryview(mmap.mmap(-1, entry.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (OSError, MemoryError, OverflowError) as error:
        raise HostError(
            f"{entry.path}: no memory for its {entry.size} bytes", hint="free memory, or take a smaller variant"
        ) from error


def _check_content(entry: FileEntry, size: int, sha256: str) -> None:
    if size != entry.size:
        raise IntegrityError(
            f"{entry.path}: has {size}{'' if size < entry.size else ' or more'} bytes, listed are {entry.size}",
            hint=_DAMAGED,
        )
    if sha256 != entry.sha256:
        raise IntegrityError(f"{entry.path}: sha256 is {sha256}, listed is {entry.sha256}", hint=_DAMAGED)
