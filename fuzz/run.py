"""Fuzz one target with atheris: ``python fuzz/run.py TARGET [libFuzzer's options]``."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgekit"]):
    sys.path.insert(0, str(Path(__file__).parent))
    from targets import TARGETS, seeds


def main() -> None:
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory(prefix="edgekit-corpus-") as corpus:
        for number, seed in enumerate(seeds(name)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
