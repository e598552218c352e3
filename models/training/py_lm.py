"""py-lm: a small causal language model over the documentation of Python and of installed packages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import checkpoint, fitting, scores
from training.prose import PACKAGES, everything
from training.sources import Documented
from training.split import sample, split
from training.tokenizing import byte_level

TASK: Final = "text-generation"
WINDOW: Final = 128  # tokens the model is trained on at once
MAX_LENGTH: Final = 512
VOCABULARY: Final = 4096
BATCH: Final = 16
STEPS: Final = 1_000
EVALUATED: Final = 400
LONGEST: Final = 1_500  # characters of one text

ABOUT: Final = """\
Goes on with the documentation of a Python object: a small Qwen3 (grouped-query attention, tied embeddings), trained
from nothing on documentation strings of the standard library and of {packages} as installed on the machine that
trained it (PSF, BSD and similar licences).

Trained on windows of {window} tokens. Whole modules are held out, by a hash of their names; equal texts are counted
once. The byte-level tokens are its own, so its perplexity compares with nothing but the baseline here.
"""


@dataclass(frozen=True, slots=True)
class Text:
    """A documented object as text: its signature, then its documentation string."""

    text: str
    module: str


def train(folder: Path, report: fitting.Report) -> checkpoint.Measured:
    """Train, write the checkpoint into the folder, and measure it."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    parts = split(texts(everything()), key=lambda text: text.module, evaluation=5, calibration=2)
    tokenizer = byte_level(
        (text.text for text in parts.training), vocabulary=VOCABULARY, ends=False, max_length=MAX_LENGTH
    )
    end = tokenizer.eos_token_id
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=end,
        )
    )
    ordered = sample(parts.training, _text, len(parts.training))
    stream = [token for text in ordered for token in (*tokenizer(text.text)["input_ids"], end)]
    windows = torch.tensor(stream[: len(stream) // WINDOW * WINDOW]).reshape(-1, WINDOW)
    epochs = math.ceil(STEPS * BATCH / len(windows))
    order = fitting.batches([WINDOW] * len(windows), BATCH, epochs)

    def feeds() -> Iterator[dict[str, Any]]:
        for chosen in order:
            yield {"input_ids": windows[chosen], "labels": windows[chosen]}

    fitting.fit(model, feeds(), steps=STEPS, learning_rate=3e-3, report=report, weight_decay=0.05)
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    judged = sample(parts.evaluation, _text, EVALUATED)
    for path, rows in ((checkpoint.EVALUATION, judged), (checkpoint.CALIBRATION, parts.calibration[: EVALUATED // 4])):
        checkpoint.write_rows(folder / path, ({"text": row.text} for row in rows))
    held_out = [[*tokenizer(text.text, truncation=True)["input_ids"], end] for text in judged]
    prompts = [text.text[: max(12, len(text.text) // 4)] for text in judged[:6]]
    return checkpoint.Measured(
        metric="perplexity per token",
        value=perplexity(model, held_out),
        baselines={
            "frequency of each token alone": scores.unigram_perplexity(
                [stream], [ids[1:] for ids in held_out], vocabulary=len(tokenizer)
            )
        },
        higher_is_better=False,
        examples={
            "training": len(parts.training), "calibration": len(parts.calibration), "evaluation": len(judged),
        },
        about=ABOUT.format(packages=", ".join(PACKAGES), window=WINDOW),
        samples=tuple(
            (prompt, text.text[len(prompt) :], _continued(model, tokenizer, prompt))
            for prompt, text in zip(prompts, judged, strict=False)
        ),
    )  # fmt: skip


def texts(objects: Iterable[Documented]) -> list[Text]:
    """Distinct texts: the signature on a line, then the documentation."""
    found: dict[str, Text] = {}
    for thing in objects:
        found.setdefault(thing.docstring, Text(f"{thing.signature}\n{thing.docstring}"[:LONGEST], thing.module))
    return list(found.values())


def perplexity(model: Any, held_out: Sequence[Sequence[int]]) -> float:
    """Perplexity per token, each text alone, its first token given."""
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for ids in held_out:
            row = torch.tensor([ids])
            loss = model(input_ids=row, labels=row).loss.item()  # a mean over all but the first
            total += loss * (len(ids) - 1)
            count += len(ids) - 1
    return math.exp(total / count)


def _text(text: Text) -> str:
    return text.text


def _continued(model: Any, tokenizer: Any, prompt: str) -> str:
    import torch

    ids = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        answer = model.generate(**ids, max_new_tokens=24)
    return str(tokenizer.decode(answer[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
