"""Bundles for text tasks, built of tiny random checkpoints."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from edgekit.pipeline import BuildRequest, build
from edgekit.runtime import Model, pipeline
from edgekit.spec.progress import Silent

from . import text_checkpoints

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MODELS = {
    "text-classification": ("distilbert", "AutoModelForSequenceClassification", ("bad", "fine", "good"),
                            {"problem_type": "multi_label_classification"}),
    "token-classification": ("bert", "AutoModelForTokenClassification", NAMES, {}),
    "fill-mask": ("bert", "AutoModelForMaskedLM", (), {}),
    "question-answering": ("roberta", "AutoModelForQuestionAnswering", (), {}),
    "zero-shot-classification": ("deberta-v2", "AutoModelForSequenceClassification",
                                 ("contradiction", "neutral", "entailment"), {}),
    "text-ranking": ("bert", "AutoModelForSequenceClassification", ("score",), {}),
}  # fmt: skip
DATA = {
    "question-answering": '{"question": "who sat on it?", "context": "the old cat sat on a mat in paris"}\n',
    "text-ranking": '{"query": "who sat?", "document": "the cat"}\n{"query": "who sat?", "document": "a mat"}\n',
}
TEXTS = [
    "Maria Lopez flew from Paris to Rio de Janeiro, didn't she?",
    "A cat, unbelievably, sat on the mat.",
    "the cat",
    "caf\u00e9 \u4e2d\u6587 \U0001f642 unfathomableness",
    "It is old. " * 60,
]
QUESTIONS = [
    {"question": "who sat on the mat?", "context": "the old cat sat on a mat. it was in paris"},
    {"question": "where is it", "context": "paris is in france, the cat is where it was. " * 12},
    {"question": "who", "context": "mat"},
]


def maker(folder: Path) -> Callable[..., tuple[Path, Model]]:
    """For a task its checkpoint's folder and its bundle, opened; each built when first asked for."""

    @cache
    def make(task, kind):
        _, head, labels, config = MODELS[task]
        checkpoint = text_checkpoints.write(folder / f"{task}-{kind}", kind, head, labels, **config)
        data = folder / f"{task}.jsonl"
        data.write_text(DATA.get(task, "".join(f'{{"text": "{text}"}}\n' for text in TEXTS[1:4])), "utf-8")
        output = bundle_of(checkpoint)
        request = BuildRequest(
            str(checkpoint), ("x86_64-avx2", "arm64-neon"), output, task, data, "fp32", allow_unproven=True
        )
        build(request, Silent())
        return checkpoint, pipeline(task, output)

    return lambda task, kind=None: make(task, kind or MODELS[task][0])


def bundle_of(checkpoint: Path) -> Path:
    """The folder of the bundle that was made of a checkpoint."""
    return checkpoint.with_name(f"{checkpoint.name}.bundle")
