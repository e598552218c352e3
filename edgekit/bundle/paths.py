"""Which file paths a bundle may hold: those that mean one and the same file on every system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from edgekit.errors import IntegrityError

MAX_DEPTH: Final = 8
MAX_PATH_BYTES: Final = 512
MAX_PART_BYTES: Final = 255

_FORBIDDEN: Final = frozenset('<>:"|?*\\')
# Control, format (bidirectional overrides, joiners), surrogate, line and paragraph separators.
_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Windows opens a device for these, whatever the folder and the extension.
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_HINT: Final = "rename the file; docs/bundle-format.md has the rules for paths"


def check_path(path: str) -> None:
    """Refuse a path that is absolute, leaves its folder, or means something else on another system.

    Raises:
        IntegrityError: Naming the path and the rule it breaks.
    """
    problem = _problem(path)
    if problem:
        raise IntegrityError(f"path {path[:MAX_PATH_BYTES]!r}: {problem}", hint=_HINT)


def check_paths(paths: Iterable[str]) -> None:
    """Check each path, and that no two of them meet on a system that folds case or Unicode forms.

    Raises:
        IntegrityError: A path breaks a rule, appears twice, differs from another only by case or
            Unicode form (as a whole or in one of its folders), or is another's folder.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        check_path(path)
        key = _folded(path)
        if key in files:
            raise _collision(path, files[key])
        files[key] = path
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            first = folders.setdefault(_folded(folder), folder)
            if first != folder:
                raise _collision(folder, first)
    for key, folder in folders.items():
        if key in files:
            raise IntegrityError(f"path {files[key]!r}: is a file and, as {folder!r}, also a folder", hint=_HINT)


def _problem(path: str) -> str:
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in path):
        return "holds a control or format character"
    if not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode form NFC"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        return f"is deeper than {MAX_DEPTH} parts"
    return next((problem for part in parts if (problem := _part_problem(part))), "")


def _part_problem(part: str) -> str:
    if part in {"", ".", ".."}:
        return f"has the part {part!r}; paths are relative, with single forward slashes"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part longer than {MAX_PART_BYTES} bytes"
    forbidden = _FORBIDDEN & set(part)
    if forbidden:
        return f"holds {min(forbidden)!r}"
    if part[-1] in ". ":
        return f"has the part {part!r}, which ends with a dot or space"
    if _DEVICE.fullmatch(part):
        return f"has the part {part!r}, a device's name on Windows"
    return ""


def _folded(path: str) -> str:
    # Unicode's compatibility caseless match: stricter than any file system in use.
    once = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", path).casefold()).casefold()
    return unicodedata.normalize("NFKD", once)


def _collision(path: str, first: str) -> IntegrityError:
    problem = "is listed twice" if path == first else f"differs from {first!r} only by case or Unicode form"
    return IntegrityError(f"path {path!r}: {problem}", hint=_HINT)
