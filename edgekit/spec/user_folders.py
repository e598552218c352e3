"""A user's folders: where edgekit keeps what it can make or fetch again, and what is installed."""

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
        return _windows_folder(environment, home) / "edgekit" / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "edgekit"
    return _xdg_folder(environment, "XDG_CACHE_HOME", home / ".cache") / "edgekit"


def store_folder(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """Where the device store of this user's programs is: ``EDGEKIT_STORE``, else the system's place for data.

    Args:
        environment: As :data:`os.environ`.
        platform: As :data:`sys.platform`.
        home: The user's folder.
    """
    if named := environment.get("EDGEKIT_STORE"):
        return Path(named)
    if platform == "win32":
        return _windows_folder(environment, home) / "edgekit" / "store"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "edgekit" / "store"
    return _xdg_folder(environment, "XDG_DATA_HOME", home / ".local" / "share") / "edgekit" / "store"


def _windows_folder(environment: Mapping[str, str], home: Path) -> Path:
    local = environment.get("LOCALAPPDATA")
    return Path(local) if local else home / "AppData" / "Local"


def _xdg_folder(environment: Mapping[str, str], variable: str, otherwise: Path) -> Path:
    # The XDG base directory specification: a relative path is to be ignored.
    chosen = Path(environment.get(variable, ""))
    return chosen if chosen.is_absolute() else otherwise
