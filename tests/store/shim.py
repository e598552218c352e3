"""A shim between the store and the system: counts every call, and at the N-th does what a bad day does.

Standard library only, so that a child process which shall be killed at its N-th call can put it in too.
"""

import errno
import os
import signal
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field

from edgekit.bundle.store import calls, locks

CALLS = (
    "open_read", "open_folder", "open_new", "open_lock", "read", "write", "fsync", "close", "rename", "unlink", "mkdir",
    "rmdir", "names", "is_folder", "identity", "free_bytes",
)  # fmt: skip
OPENING = ("open_read", "open_folder", "open_new", "open_lock")


class Died(BaseException):
    """The process ends here. No code runs after that, so nothing may catch it."""


@dataclass(frozen=True)
class Fault:
    """What happens at the N-th call of some kinds: an error, once or from then on; the end; less than asked for."""

    name: str
    calls: tuple = CALLS
    error: int = 0
    sticky: bool = False
    dies: str = ""  # "before", "after" or, for a write, "torn"
    kills: bool = False  # by a real SIGKILL
    short: bool = False


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("disk full from a write on", ("write", "open_new", "mkdir"), errno.ENOSPC, sticky=True),
        Fault("disk full at one write", ("write",), errno.ENOSPC),
        Fault("quota at a write", ("write", "open_new", "mkdir"), errno.EDQUOT, sticky=True),
        Fault("input/output error on write", ("write",), errno.EIO),
        Fault("input/output error on sync", ("fsync",), errno.EIO),
        Fault("input/output error on every sync from one on", ("fsync",), errno.EIO, sticky=True),
        Fault("input/output error on read", ("read",), errno.EIO),
        Fault("input/output error on reading a folder", ("names",), errno.EIO),
        Fault(
            "read-only from a call on",
            ("open_new", "open_lock", "mkdir", "rename", "unlink", "rmdir"),
            errno.EROFS,
            sticky=True,
        ),
        Fault("permission denied on rename", ("rename",), errno.EACCES),
        Fault("staging on another file system", ("rename",), errno.EXDEV, sticky=True),
        Fault("too many open files", OPENING, errno.EMFILE),
        Fault("too many open files from one on", OPENING, errno.EMFILE, sticky=True),
        Fault("permission denied on removing", ("unlink", "rmdir"), errno.EACCES, sticky=True),
        Fault("input/output error on close", ("close",), errno.EIO),
        Fault("short writes", ("write",), short=True),
        Fault("short reads", ("read",), short=True),
    )
}
DEATHS = (
    Fault("killed before the call", dies="before"),
    Fault("killed after the call", dies="after"),
    Fault("killed in a write", ("write",), dies="torn"),
)
SIGKILL = Fault("SIGKILL", dies="before", kills=True)


def _forget_locks():
    # A lock that is collected closes its descriptor's number, which may be another's by then.
    for finalizer in list(weakref.finalize._registry):
        if (alive := finalizer.peek()) and alive[1] is locks._close_quietly:
            finalizer.detach()


@dataclass
class Shim:
    """Put in with ``with``; calls of other threads are counted too.

    Attributes:
        fault: None to count alone.
        at: The call at which it happens, from 1, among those of the fault's kinds.
        watch: Called as watch(name, arguments, result) after each call that succeeded.
        syncs: Whether to sync for good; a process that dies loses nothing that was not synced.
    """

    fault: Fault | None = None
    at: int = 0
    watch: object = None
    syncs: bool = False
    count: int = 0
    happened: bool = False
    dead: bool = False
    synced_after_failure: bool = False
    _open: set = field(default_factory=set)
    _failed_syncs: set = field(default_factory=set)
    _real: dict = field(default_factory=dict)
    _lock: object = field(default_factory=threading.RLock)

    def __enter__(self):
        for name in CALLS:
            self._real[name] = getattr(calls, name)
            setattr(calls, name, self._standing_in(name))
        return self

    def __exit__(self, *exception):
        if self.dead:
            _forget_locks()  # their descriptors go with the process, below
        for name, function in self._real.items():
            setattr(calls, name, function)
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def _standing_in(self, name):
        def call(*arguments):
            with self._lock:
                return self._call(name, arguments)

        return call

    def _call(self, name, arguments):
        if self.dead:
            return self._call_of_the_dead(name, arguments)
        fault = self.fault
        if fault is None or name not in fault.calls:
            return self._do(name, arguments)
        self.count += 1
        if self.count != self.at and not (fault.sticky and self.happened):
            return self._do(name, arguments)
        self.happened = True
        if fault.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.dies:
            self._die(name, arguments)
        if fault.short:
            return self._short(name, arguments)
        if name == "fsync":
            self._failed_syncs.add(arguments[0])
        if name == "close":
            self._do(name, arguments)  # Linux closes the descriptor whatever it reports
        raise OSError(fault.error, os.strerror(fault.error))

    def _call_of_the_dead(self, name, arguments):
        if name != "close":
            raise Died
        if arguments[0] in self._open:
            self._do("close", arguments)

    def _die(self, name, arguments):
        if self.fault.dies == "torn":
            descriptor, data = arguments
            self._do(name, (descriptor, bytes(data)[: max(1, len(data) // 2)]))
        elif self.fault.dies == "after":
            with suppress(OSError):  # a call that fails has come to its end too
                self._do(name, arguments)
        self.dead = True
        raise Died

    def _short(self, name, arguments):
        if name == "write":
            descriptor, data = arguments
            return self._do(name, (descriptor, bytes(data)[:1]))
        return self._do(name, (arguments[0], 1))

    def _do(self, name, arguments):
        if name == "fsync" and arguments[0] in self._failed_syncs:
            self.synced_after_failure = True
        result = None if name == "fsync" and not self.syncs else self._real[name](*arguments)
        if name in OPENING:
            self._open.add(result)
        if name == "close":
            self._open.discard(arguments[0])
            self._failed_syncs.discard(arguments[0])
        if self.watch:
            self.watch(name, arguments, result)
        return result
