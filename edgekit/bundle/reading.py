"""Opening a bundle: nothing is used that was not hashed first, in memory nobody else can change."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from edgekit.bundle.folder import list_files, open_file
from edgekit.bundle.paths import check_paths
from edgekit.errors import HostError, IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileEntry, Manifest

_CHUNK_BYTES: Final = 1 << 20
_DAMAGED: Final = "the bundle is damaged or was changed; get it again"


class Bundle:
    """An opened bundle; make one with :meth:`open`.

    Attributes:
        root: Its folder, absolute, links resolved when it was opened.
        manifest: What ``edgekit.json`` says.
        manifest_sha256: Digest of ``edgekit.json``; it names the bundle's whole content.
    """

    def __init__(self, root: Path, manifest: Manifest, manifest_sha256: str) -> None:
        self.root = root
        self.manifest = manifest
        self.manifest_sha256 = manifest_sha256
        self._entries = {entry.path: entry for entry in manifest.files}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open a bundle: read its manifest and compare the folder's files and sizes with it.

        Contents are not hashed here; :meth:`read` hashes what it hands out, :meth:`verify` everything.

        Raises:
            IntegrityError: The folder is no bundle, or holds something else than its manifest
                lists: a file missing, added, or of another size, a link, an empty folder.
        """
        root = _folder(path)
        data = _read_manifest(root)
        manifest = Manifest.from_json(data)
        check_paths([MANIFEST_NAME, *(entry.path for entry in manifest.files)])
        bundle = cls(root, manifest, hashlib.sha256(data).hexdigest())
        bundle._check_listing()
        return bundle

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
        with open_file(self.root, path) as stream:
            while filled < entry.size:
                count = stream.readinto(content[filled : filled + _CHUNK_BYTES])
                if not count:
                    break
                digest.update(content[filled : filled + count])  # while the chunk is in the cache
                filled += count
            _check_content(entry, filled + len(stream.read(1)), digest.hexdigest())
        return content

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compare the folder and every byte of every file with the manifest.

        Needs 1 MiB of memory, whatever the bundle's size.

        Args:
            progress: Called with (bytes done, bytes in all) after each mebibyte and each file.

        Raises:
            IntegrityError: Something is not what was listed when the bundle was opened.
        """
        if hashlib.sha256(_read_manifest(self.root)).hexdigest() != self.manifest_sha256:
            raise IntegrityError(f"{MANIFEST_NAME}: changed since the bundle was opened", hint="open it again")
        self._check_listing()
        total = sum(entry.size for entry in self._entries.values())
        done = 0
        for entry in self._entries.values():
            digest = hashlib.sha256()
            size = 0
            with open_file(self.root, entry.path) as stream:
                for chunk in _chunks(stream, entry.size + 1):
                    digest.update(chunk)
                    size += len(chunk)
                    if progress:
                        progress(done + size, total)
            _check_content(entry, size, digest.hexdigest())
            done += size
            if progress:
                progress(done, total)

    def _check_listing(self) -> None:
        present = list_files(self.root)
        if present.pop(MANIFEST_NAME, None) is None:
            raise IntegrityError(f"{MANIFEST_NAME}: is missing", hint=_DAMAGED)
        for path, size in present.items():
            if path not in self._entries:
                raise IntegrityError(f"{path!r}: is not listed in {MANIFEST_NAME}", hint=_DAMAGED)
            if size != self._entries[path].size:
                raise _size_error(self._entries[path], f"{size}")
        for path in self._entries:
            if path not in present:
                raise IntegrityError(f"{path}: is listed in {MANIFEST_NAME} but missing", hint=_DAMAGED)


def _folder(path: str | os.PathLike[str]) -> Path:
    hint = f"a bundle is a folder with {MANIFEST_NAME}"
    try:
        root = Path(path).resolve(strict=True)
        (root / MANIFEST_NAME).lstat()
    except FileNotFoundError as error:
        missing = "does not exist" if not os.path.lexists(path) else f"has no {MANIFEST_NAME}"
        raise IntegrityError(f"{path}: {missing}", hint=hint) from error
    except NotADirectoryError as error:
        raise IntegrityError(f"{path}: is not a folder", hint=hint) from error
    except (OSError, ValueError, RuntimeError) as error:  # no permission; a NUL in the path; a loop of links
        raise IntegrityError(f"{str(path)!r}: cannot be opened: {error}", hint=hint) from error
    return root


def _read_manifest(root: Path) -> bytes:
    with open_file(root, MANIFEST_NAME) as stream:
        data = b"".join(_chunks(stream, MAX_MANIFEST_BYTES + 1))
    if len(data) > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"{MANIFEST_NAME}: is over the limit of {MAX_MANIFEST_BYTES} bytes", hint=_DAMAGED)
    return data


def _chunks(stream: FileIO, limit: int) -> Iterator[bytes]:
    """The stream's content, ended after ``limit`` bytes: a file may grow while it is read."""
    while limit > 0 and (chunk := stream.read(min(limit, _CHUNK_BYTES))):
        limit -= len(chunk)
        yield chunk


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
        raise _size_error(entry, f"at least {size}" if size > entry.size else f"{size}")
    if sha256 != entry.sha256:
        raise IntegrityError(f"{entry.path}: sha256 is {sha256}, listed is {entry.sha256}", hint=_DAMAGED)


def _size_error(entry: FileEntry, size: str) -> IntegrityError:
    return IntegrityError(f"{entry.path}: has {size} bytes, listed are {entry.size}", hint=_DAMAGED)
