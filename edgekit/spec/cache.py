"""Where edgekit keeps what it can make or fetch again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_folder(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """Where edgekit keeps what it can make again: ``EDGEKIT_CACHE``, else the system's place for caches.

    Args:
        environment: As :data:`os.environ`.
        platform: As :data:`sys.platform`.
        home: The user's folder.
    """
    if named := environment.get("EDGEKIT_CACHE"):
        return Path(named)
    if platform == "win32":
        local = environment.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "edgekit" / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "edgekit"
    # The XDG base directory specification: a relative path is to be ignored.
    chosen = Path(environment.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else home / ".cache") / "edgekit"
