"""How much memory this process or a session took, and how much one may still take here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_UNLIMITED: Final = 1 << 60  # cgroup v1 writes a number near 2^63 for "no limit"


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can be taken without swapping: what Linux says is available, or less where the cgroup allows less.

    Args:
        root: Folder that holds ``proc`` and ``sys``; another one than ``/`` is for tests.

    Returns:
        Bytes; None where the system does not say (macOS, Windows, a sandbox without ``/proc``).
    """
    found = [value for value in (_of_machine(root), _of_cgroup(root)) if value is not None]
    return min(found, default=None)


def peak_bytes() -> int | None:
    """Peak resident memory of this program; None where the system does not tell (macOS, Windows)."""
    try:
        # Not getrusage: its peak is also that of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None


def resident_bytes(session: int) -> int:
    """Resident memory of all processes of a session; 0 where the system has no ``/proc``."""
    pages = 0
    for process in session_processes(session):
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages += int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") if pages else 0


def session_processes(leader: int) -> list[int]:
    """Numbers of the processes of a session; none where the system has no ``/proc``."""
    try:
        running = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:  # a system without it
        return []
    return [int(process) for process in running if _session_of(process) == leader]


def _of_machine(root: Path) -> int | None:
    for line in _read(root / "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if key == "MemAvailable" and words and words[0].isdigit():
            return int(words[0]) * 1024
    return None


def _of_cgroup(root: Path) -> int | None:
    # A container sees its own group at the mount; what its cache holds can be taken back, as in MemAvailable.
    places = (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
            "sys/fs/cgroup/memory/memory.stat",
            "total_inactive_file",
        ),
    )
    for limit_file, usage_file, stat_file, cache_key in places:
        limit, usage = _read(root / limit_file).strip(), _read(root / usage_file).strip()
        if limit.isdigit() and usage.isdigit() and int(limit) < _UNLIMITED:
            cache = dict(line.split(maxsplit=1) for line in _read(root / stat_file).splitlines() if " " in line)
            freeable = cache.get(cache_key, "0")
            return max(0, int(limit) - int(usage) + (int(freeable) if freeable.isdigit() else 0))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _session_of(process: str) -> int | None:
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(status.rpartition(")")[2].split()[3])  # the name before may hold blanks and brackets
    except (OSError, ValueError, IndexError):
        return None
