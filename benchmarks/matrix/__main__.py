"""Prove every architecture of architectures.toml and write docs/architectures.md.

make matrix
python -m benchmarks.matrix --only llama --only vit
python -m benchmarks.matrix --resume
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
from pathlib import Path

from benchmarks.matrix import report, table, work

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
PAGE = ROOT / "docs" / "architectures.md"


def main() -> None:
    arguments = _arguments()
    rows = table.read()
    unknown = sorted(set(arguments.only) - {row.name for row in rows})
    if unknown:
        sys.exit(f"--only: {', '.join(unknown)} is not in {table.PATH.name}")
    results = report.load(RESULTS)
    listed = {(row.name, task) for row in rows for task in row.tasks}
    results = {key: value for key, value in results.items() if key in listed}
    jobs = [
        (row, task)
        for row in rows
        for task in row.tasks
        if (not arguments.only or row.name in arguments.only)
        and not (arguments.resume and (row.name, task) in results)
        and not (arguments.failed and results.get((row.name, task), {}).get("result") == "right")
        and (not arguments.group or row.modality in arguments.group)
    ]
    jobs.sort(key=lambda job: job[0].tasks.index(job[1]))  # every type once, then its other tasks
    context = work.workers()
    with concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool:
        pending = [pool.submit(work.attempt, context, row, task) for row, task in jobs]
        for done in concurrent.futures.as_completed(pending):
            result = done.result()
            trace = result.pop("trace", "")
            results[result["type"], result["task"]] = result
            report.save(results, RESULTS)
            print(report.line(result), flush=True)
            if arguments.trace and trace:
                print(trace, file=sys.stderr)
    tried = {name for name, _ in results}
    PAGE.write_text(report.page(results, [row.name for row in rows if row.name not in tried]), encoding="utf-8")
    print(report.summary(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrix", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="TYPE", help="this model type; may be repeated")
    parser.add_argument("--group", action="append", default=[], metavar="GROUP", help="this group; may be repeated")
    parser.add_argument("--resume", action="store_true", help="skip what benchmarks/results/matrix.json already holds")
    parser.add_argument("--failed", action="store_true", help="only what is not right there")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; 2 GB each is enough")
    parser.add_argument("--trace", action="store_true", help="print the traceback of what cannot be exported")
    return parser.parse_args()


if __name__ == "__main__":
    main()
