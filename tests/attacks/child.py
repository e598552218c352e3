"""Open what may be hostile, in a process with limits, and say how each ended: one JSON object a line.

Run as ``python child.py FILE ARGUMENT...``: FILE holds one path a line. Every input is opened, verified and loaded
through the library, and then given to the command line, in the place of ``{}`` among the arguments. The process may
take 256 MiB of addresses more than it had when it started, and an input five seconds of its time in each of the three;
what exceeds that ends the process, and the parent misses its line.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

SECONDS = 5  # of the process's own time: the machine may have other work
WAITING_SECONDS = 60  # for what waits instead, as on a pipe
SPARE_BYTES = 256 << 20


def outcome(path, arguments):
    from edgekit.bundle.reading import Bundle
    from edgekit.bundle.trust import Trust
    from edgekit.cli.boundary import main
    from edgekit.runtime import load

    def verify():
        bundle = Bundle.open(path)
        Trust.of().require(bundle)  # asks for a signature where EDGEKIT_TRUST is set
        bundle.verify()

    found = {}
    for name, attempt in (("verify", verify), ("load", lambda: load(path).close())):
        limit_time()
        try:
            attempt()
            found[name] = "accepted"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            found[name] = type(error).__name__
            found["message"] = str(error)
    limit_time()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found["exit_code"] = main([path if argument == "{}" else argument for argument in arguments])
    found["said"] = out.getvalue()
    found["traceback"] = "Traceback" in out.getvalue() + err.getvalue()
    return found


def limit_time():
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING_SECONDS)


def limit_memory():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, used + SPARE_BYTES))


def run(paths, arguments):
    import onnxruntime  # noqa: F401 - what every load needs is no cost of an input
    import tokenizers  # noqa: F401

    import edgekit.cli.app  # noqa: F401

    limit_memory()
    for path in paths:
        start = time.process_time()
        found = outcome(path, arguments)
        sys.stdout.write(json.dumps({"path": path, "seconds": time.process_time() - start} | found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run([os.fsdecode(line) for line in Path(sys.argv[1]).read_bytes().splitlines()], sys.argv[2:])
