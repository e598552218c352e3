"""docstring-summarizer: an encoder-decoder that writes the first line of a documentation string from its rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from training import checkpoint, fitting, scores
from training.prose import PACKAGES, Page, everything, pages
from training.split import sample, split
from training.tokenizing import byte_level

TASK: Final = "text2text-generation"
MAX_LENGTH: Final = 64
MAX_SUMMARY: Final = 24
VOCABULARY: Final = 4096
COPYING_EPOCHS: Final = 1
EPOCHS: Final = 2
BATCH: Final = 32
EVALUATED: Final = 400
SHORTEST_JUDGED: Final = 80  # characters
IGNORED: Final = -100  # what transformers' losses skip

ABOUT: Final = """\
Writes the first line of a documentation string from the rest of it: a small T5, trained from nothing on the
documentation of the standard library and of {packages} as installed on the machine that trained it (PSF, BSD and
similar licences).

The text is the object's name in words and the description without its first paragraph; the summary is that paragraph.
Whole modules are held out, by a hash of their names; equal summaries and equal descriptions are counted once. Objects
without a description are learned from and not judged. It has learned how such lines are written more than to read:
it is better than the description's first sentence, and repeating the object's name may still score higher. It is here
so that an export that breaks an encoder-decoder shows, not to be relied on for summaries.
"""


def train(folder: Path, report: fitting.Report) -> checkpoint.Measured:
    """Train, write the checkpoint into the folder, and measure it."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    parts = split(pages(everything()), key=lambda page: page.module, evaluation=8, calibration=2)
    tokenizer = byte_level(
        (text for page in parts.training for text in (page.text, page.summary)),
        vocabulary=VOCABULARY,
        ends=True,
        max_length=MAX_LENGTH,
    )
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_heads=4,
            num_layers=2,
            num_decoder_layers=2,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,  # they are tied all the same; this leaves out T5's scaling of the output
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )
    # T5's own start, a standard deviation of 1, takes Adam thousands of steps to leave.
    torch.nn.init.normal_(model.shared.weight, std=0.1)
    lessons = [
        *_lessons(tokenizer, [copied(page) for page in parts.training], parts.training, COPYING_EPOCHS),
        *_lessons(tokenizer, [page.text for page in parts.training], parts.training, EPOCHS),
    ]
    fitting.fit(model, iter(lessons), steps=len(lessons), learning_rate=1e-3, report=report)
    model.generation_config.max_new_tokens = MAX_SUMMARY
    model.generation_config.num_beams = 1
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    judged = sample(filter(_described, parts.evaluation), _text, EVALUATED)
    calibration = sample(filter(_described, parts.calibration), _text, EVALUATED // 4)
    _write(folder, judged, calibration)
    answers = summarize(model, tokenizer, [page.text for page in judged])
    return checkpoint.Measured(
        metric="ROUGE-L F1",
        value=_mean(judged, answers),
        baselines={"the description's first sentence": _mean(judged, [lead(page.text) for page in judged])},
        comparisons={"the name in words": _mean(judged, [page.text.partition(": ")[0] for page in judged])},
        higher_is_better=True,
        examples={
            "training": len(parts.training), "calibration": len(calibration), "evaluation": len(judged),
        },
        about=ABOUT.format(packages=", ".join(PACKAGES)),
        samples=tuple(
            (page.text, page.summary, answer) for page, answer in zip(judged[:8], answers, strict=False)
        ),
    )  # fmt: skip


def copied(page: Page) -> str:
    """A text that says its summary: the first thing the model learns is to find words in the text and repeat them."""
    return f"{page.text.partition(': ')[0]}: {page.summary}"


def lead(text: str) -> str:
    """The first sentence after the name."""
    body = text.partition(": ")[2]
    return re.split(r"(?<=[.!?:]) ", body, maxsplit=1)[0]


def summarize(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """Greedy answers."""
    import torch

    answers: list[str] = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(list(texts[start : start + BATCH]), truncation=True, padding=True, return_tensors="pt")
            ids = model.generate(**batch)
            answers += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return answers


def _lessons(tokenizer: Any, texts: Sequence[str], described: Sequence[Page], epochs: int) -> Iterator[dict[str, Any]]:
    """What the model is fed in one go through each epoch: texts with the summaries of what they describe."""
    rows = [tokenizer(text, truncation=True)["input_ids"] for text in texts]
    summaries = [tokenizer(page.summary, truncation=True, max_length=MAX_SUMMARY)["input_ids"] for page in described]
    for chosen in fitting.batches([len(row) for row in rows], BATCH, epochs):
        ids = fitting.padded([rows[index] for index in chosen], tokenizer.pad_token_id)
        labels = fitting.padded([summaries[index] for index in chosen], IGNORED)
        yield {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": labels}


def _mean(judged: Sequence[Page], answers: Sequence[str]) -> float:
    found = [scores.rouge_l(page.summary, answer) for page, answer in zip(judged, answers, strict=True)]
    return sum(found) / len(found)


def _text(page: Page) -> str:
    return page.text


def _described(page: Page) -> bool:
    """Whether there is anything to summarize; training takes the others too, for the way such lines are written."""
    return len(page.text) >= SHORTEST_JUDGED


def _write(folder: Path, judged: Sequence[Page], calibration: Sequence[Page]) -> None:
    for path, rows in ((checkpoint.EVALUATION, judged), (checkpoint.CALIBRATION, calibration)):
        checkpoint.write_rows(folder / path, ({"text": row.text, "summary": row.summary} for row in rows))
