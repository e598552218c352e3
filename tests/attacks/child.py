"""Open what may be hostile, in a process with limits, and say how each ended: one JSON object a line.

Run as ``python child.py FILE``: FILE holds one path a line. Every input is opened, verified and loaded through the
library, and verified once more through the command line. The process may take 256 MiB of addresses more than it had
when it started, and an input five seconds; what exceeds that ends the process, and the parent misses its line.
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

SECONDS = 5
SPARE_BYTES = 256 << 20


def outcome(path):
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
        try:
            attempt()
            found[name] = "accepted"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            found[name] = type(error).__name__
            found["message"] = str(error)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found["exit_code"] = main(["verify", "--json", "--", path])
    found["traceback"] = "Traceback" in out.getvalue() + err.getvalue()
    return found


def limit_memory():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, used + SPARE_BYTES))


def run(paths):
    import onnxruntime  # noqa: F401 - what every load needs is no cost of an input
    import tokenizers  # noqa: F401

    import edgekit.cli.app  # noqa: F401

    limit_memory()
    for path in paths:
        signal.alarm(SECONDS)
        start = time.monotonic()
        found = outcome(path)
        signal.alarm(0)
        sys.stdout.write(json.dumps({"path": path, "seconds": time.monotonic() - start} | found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run([os.fsdecode(line) for line in Path(sys.argv[1]).read_bytes().splitlines()])
