"""What runs inside an environment that has a Python: the device side of edgekit, and nothing of the build side.

A script, started as ``python inside.py JOB``. It tells how far it came in ``events.jsonl``, one JSON object a line, so
that whoever started it knows after a crash what it was doing. Whether the CPU fits is asked before numpy and ONNX
Runtime are imported: on one that lacks an instruction, importing them ends the process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def main(job_file: Path) -> int:
    """Do a job and tell about it.

    Args:
        job_file: JSON; see :class:`edgekit.portability.jobs.Job`. Answers and events go into its folder.
    """
    job = json.loads(job_file.read_text(encoding="utf-8"))
    folder = job_file.parent
    with (folder / "events.jsonl").open("w", encoding="utf-8") as stream:

        def tell(event: str, **facts: Any) -> None:
            stream.write(json.dumps({"event": event, **facts}) + "\n")
            stream.flush()

        from edgekit.errors import EdgekitError

        try:
            _answer(job, folder, tell)
        except EdgekitError as error:
            tell("error", kind=error.kind, message=error.message, hint=error.hint)
        except MemoryError:
            tell("memory")
    return 0


def _answer(job: Mapping[str, Any], folder: Path, tell: Any) -> None:
    from edgekit.bundle.reading import Bundle
    from edgekit.runtime.host import detect_host
    from edgekit.runtime.selection import check_cpu, check_host

    host = detect_host()
    tell("host", architecture=host.architecture, cpu_features=sorted(host.cpu_features), system=host.system)
    bundle = Bundle.open(job["bundle"])
    variant = bundle.manifest.variant(job["variant"])
    if job["as_device"]:
        check_cpu(bundle.manifest, host, job["variant"])
    import platform

    import numpy as np

    from edgekit.runtime.golden import read_golden
    from edgekit.runtime.loading import open_variant
    from edgekit.runtime.session import onnxruntime_version, this_host

    tell("libraries", python=platform.python_version(), numpy=np.__version__, onnxruntime=onnxruntime_version())
    for name in job["probes"]:
        np.savez(folder / f"probe-{name}.out.npz", **_run_graph(folder / f"probe-{name}.onnx", folder, name))
        tell("probe", name=name)
    tell("probed")
    if job["as_device"]:
        check_host(bundle.manifest, this_host(), onnxruntime_version(), job["variant"])
    model = open_variant(bundle, variant, threads=1, provider=job["provider"])
    tell("opened")
    for number, case in enumerate(read_golden((folder / "sample.json").read_bytes())):
        np.savez(folder / f"answer-{number}.npz", **dict[str, Any](model.raw([case.input])[0]))
        tell("answer", number=number)
    tell("done", peak_bytes=_peak_bytes())


def _run_graph(path: Path, folder: Path, name: str) -> dict[str, Any]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    with np.load(folder / f"probe-{name}.in.npz", allow_pickle=False) as feeds:
        answers = session.run(None, dict(feeds))
    return {output.name: answer for output, answer in zip(session.get_outputs(), answers, strict=True)}


def _peak_bytes() -> int | None:
    from edgekit.runtime.memory import peak_bytes

    peak = peak_bytes()
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
