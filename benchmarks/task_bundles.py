"""A bundle for each task that no bundle at hand is for, of a tiny random model: to measure starts, never answers.

python benchmarks/task_bundles.py bundles
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TARGETS: Final = ("x86_64-avx2", "arm64-neon")

sys.path.insert(0, str(ROOT))  # for the tests' own makers of tiny checkpoints
from edgekit.pipeline import BuildRequest, build  # noqa: E402
from edgekit.runtime.tasks import CLASSES  # noqa: E402
from edgekit.spec.progress import Silent  # noqa: E402
from tests.integration import (  # noqa: E402
    audio_checkpoints,
    checkpoints,
    generating,
    text_checkpoints,
    vision_checkpoints,
)

Maker = Callable[[Path], object]


def _text(head: str, *labels: str) -> Maker:
    return partial(text_checkpoints.write, kind="bert", head=head, labels=labels)


# Task -> what is added to the bundle's name, and how its checkpoint is made.
MAKERS: Final[dict[str, dict[str, Maker]]] = {
    "audio-classification": {"": audio_checkpoints.write_hubert},
    "automatic-speech-recognition": {
        "-ctc": audio_checkpoints.write_wav2vec2,
        "-whisper": audio_checkpoints.write_whisper,
    },
    "feature-extraction": {"": checkpoints.write_tiny_checkpoint},
    "fill-mask": {"": _text("AutoModelForMaskedLM")},
    "image-classification": {"": partial(vision_checkpoints.write_image_checkpoint, kind="vit")},
    "image-feature-extraction": {"": partial(vision_checkpoints.write_image_checkpoint, kind="vit-features")},
    "question-answering": {"": _text("AutoModelForQuestionAnswering")},
    "text-classification": {"": _text("AutoModelForSequenceClassification", "bad", "good")},
    "text-generation": {"": partial(generating.write_checkpoint, "llama")},
    "text-ranking": {"": _text("AutoModelForSequenceClassification", "score")},
    "text2text-generation": {"": partial(generating.write_checkpoint, "t5")},
    "token-classification": {"": _text("AutoModelForTokenClassification", "O", "B-PER", "I-PER")},
    "zero-shot-classification": {
        "": _text("AutoModelForSequenceClassification", "contradiction", "neutral", "entailment")
    },
    "zero-shot-image-classification": {"": partial(vision_checkpoints.write_image_checkpoint, kind="clip")},
}


def main() -> None:
    """Make what is missing in the folder; every task of the runtime must have a maker."""
    folder = Path(sys.argv[1])
    present = {json.loads(path.read_bytes())["task"] for path in folder.glob("*/edgekit.json")}
    for task in CLASSES:
        if task not in present:
            for end, maker in MAKERS[task].items():
                _make(task, maker, folder / f"random-{task}{end}")


def _make(task: str, maker: Maker, bundle: Path) -> None:
    print(f"making {bundle.name}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        checkpoint = Path(work) / "checkpoint"
        maker(checkpoint)
        request = BuildRequest(str(checkpoint), TARGETS, bundle, task, recipe="fp32", allow_unproven=True)
        build(request, Silent())


if __name__ == "__main__":
    main()
