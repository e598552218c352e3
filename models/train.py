"""Train one of the reference models: ``python models/train.py TRAINER FOLDER``.

A trainer is a file of ``training/`` that has ``TASK`` and ``train``. edgekit runs this in a process of its own
(``edgekit export digits-vit``, ``make models``). Progress goes to standard output, a line ``DONE TOTAL`` now and then.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

CODE = Path(__file__).parent / "training"


def main() -> None:
    """Train the model named on the command line and write it into a folder that exists and is empty."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainer", choices=trainers())
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here needs a hub
    train(arguments.trainer, arguments.folder)


def trainers() -> list[str]:
    """Files of ``training/`` that train a model, without importing them."""
    return sorted(path.stem for path in CODE.glob("*.py") if "\nTASK: Final" in path.read_text(encoding="utf-8"))


def train(trainer: str, folder: Path) -> None:
    """Train, save, measure, and write the card from what was measured."""
    import torch
    import transformers

    from training import checkpoint, fitting

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    module = importlib.import_module(f"training.{trainer}")
    started = time.monotonic()
    fitting.make_deterministic()
    measured = module.train(folder, _report)
    made = {
        "parameters": _parameters(folder),
        "seed": fitting.SEED,
        "seconds": round(time.monotonic() - started),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
    }
    name = trainer.replace("_", "-")
    checkpoint.write_facts(folder, name, module.TASK, measured, made)
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
