"""Train one of the reference models: ``python models/train.py NAME FOLDER``.

edgekit runs this in a process of its own (``edgekit export NAME``, ``make models``). Progress goes to standard
output, a line ``DONE TOTAL`` now and then.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path

TRAINERS = {
    "digits-vit": "digits_vit",
    "docstring-summarizer": "docstring_summarizer",
    "py-lm": "py_lm",
    "py-modules": "py_modules",
    "py-tokens": "py_tokens",
}


def main() -> None:
    """Train the model named on the command line and write it into a folder that exists and is empty."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(TRAINERS))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here needs a hub
    train(arguments.name, arguments.folder)


def train(name: str, folder: Path) -> None:
    """Train, save, measure, and write the card from what was measured."""
    import torch
    import transformers

    from training import checkpoint, fitting

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    trainer = importlib.import_module(f"training.{TRAINERS[name]}")
    started = time.monotonic()
    fitting.make_deterministic()
    measured = trainer.train(folder, _report)
    parameters = _parameters(folder)
    made = {
        "parameters": parameters,
        "seed": fitting.SEED,
        "seconds": round(time.monotonic() - started),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
    }
    checkpoint.write_facts(folder, name, trainer.TASK, measured, made)
    if not measured.better_than_baselines():
        sys.exit(f"{name}: {measured.metric} {measured.value:.4g} is no better than {dict(measured.baselines)}")


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        return sum(weights.get_tensor(key).numel() for key in weights.keys())  # noqa: SIM118 - no mapping


def _report(done: int, total: int) -> None:
    if done % max(1, total // 100) == 0 or done == total:
        print(done, total, flush=True)


if __name__ == "__main__":
    main()
