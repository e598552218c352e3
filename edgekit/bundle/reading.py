"""Open a bundle. Placeholder with the agreed interface, replaced when the bundle part is merged."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgekit.errors import IntegrityError
from edgekit.spec.manifest import MANIFEST_NAME, Manifest


class Bundle:
    """A bundle folder whose names and sizes were checked."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Check names and sizes against the manifest."""
        root = Path(path)
        try:
            manifest = Manifest.from_json((root / MANIFEST_NAME).read_bytes())
        except OSError as error:
            raise IntegrityError(f"{root}: no readable {MANIFEST_NAME}: {error.strerror}") from error
        listed = {entry.path: entry.size for entry in manifest.files}
        found = {
            file.relative_to(root).as_posix(): file.stat().st_size
            for file in root.rglob("*")
            if file.is_file() and file.name != MANIFEST_NAME
        }
        if found != listed:
            raise IntegrityError(f"{root}: files differ from the manifest's list")
        return cls(root, manifest)

    def read(self, path: str) -> bytearray:
        """The verified bytes of a listed file."""
        entry = next((entry for entry in self.manifest.files if entry.path == path), None)
        if entry is None:
            raise IntegrityError(f"{path}: not in the manifest's list")
        data = bytearray((self.root / path).read_bytes())
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(f"{path}: sha256 differs from the manifest's")
        return data
