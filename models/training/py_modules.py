"""py-modules: a text classifier that tells which family of the standard library a documentation string is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import checkpoint, fitting, scores
from training.sources import Documented, documented, standard_library
from training.split import Split, split
from training.tokenizing import wordpiece

TASK: Final = "text-classification"
MAX_LENGTH: Final = 64
VOCABULARY: Final = 6000
EPOCHS: Final = 8
BATCH: Final = 32
SHORTEST: Final = 20  # characters
RAREST: Final = 100  # a family with fewer texts on this machine (Debian ships no tkinter) is left out

FAMILIES: Final[Mapping[str, str]] = {
    "concurrency": (
        "_threading_local asynchat asyncio asyncore concurrent contextvars multiprocessing queue sched selectors "
        "signal subprocess threading"
    ),
    "files": (
        "_compression _pyio aifc bz2 chunk dbm filecmp fileinput fnmatch genericpath glob gzip imghdr io lzma ntpath "
        "os pathlib pickle posixpath shelve shutil sndhdr sqlite3 stat sunau tarfile tempfile tty wave zipfile zlib"
    ),
    "gui": ("curses idlelib tkinter turtle turtledemo"),
    "language": (
        "__future__ _weakrefset abc ast code codeop compileall contextlib copyreg dataclasses dis enum functools imp "
        "importlib inspect keyword linecache modulefinder opcode operator pkgutil py_compile pyclbr reprlib runpy "
        "site symtable sysconfig token tokenize traceback types typing warnings weakref zipimport"
    ),
    "network": (
        "cgi cgitb ftplib http imaplib ipaddress nntplib poplib smtpd smtplib socket socketserver ssl telnetlib "
        "urllib webbrowser wsgiref xmlrpc"
    ),
    "numbers": (
        "_collections_abc _pydatetime _pydecimal _strptime bisect calendar collections colorsys datetime decimal "
        "fractions hashlib heapq hmac numbers random secrets statistics uuid"
    ),
    "text": (
        "_markupbase base64 binhex codecs configparser csv difflib email encodings gettext html json locale mailbox "
        "mailcap mimetypes netrc plistlib pprint quopri re shlex string stringprep textwrap tomllib uu xml"
    ),
    "tools": (
        "argparse bdb cProfile cmd distutils doctest getopt logging optparse pdb pickletools profile pstats pydoc "
        "timeit trace tracemalloc unittest venv zipapp"
    ),
}

ABOUT: Final = """\
Tells which part of Python's standard library a documentation string is from: {labels}. A small BERT, trained from
nothing on the documentation strings of the standard library of the machine that trained it (PSF licence).

Single objects are held out, by a hash of their names, and equal texts are counted once; other objects of the same
modules are in the training part. It knows this language's library and nothing else.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A text, the family it is from, and the object it documents."""

    text: str
    label: str
    key: str


def train(folder: Path, report: fitting.Report) -> checkpoint.Measured:
    """Train, write the checkpoint into the folder, and measure it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    parts = split(examples(documented(standard_library())), key=lambda example: example.key)
    labels = sorted({example.label for example in parts.training})
    tokenizer = wordpiece(
        (example.text for example in parts.training), vocabulary=VOCABULARY, lowercase=True, max_length=MAX_LENGTH
    )
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=MAX_LENGTH,
            hidden_dropout_prob=0.2,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    rows = [tokenizer(example.text, truncation=True)["input_ids"] for example in parts.training]
    targets = torch.tensor([labels.index(example.label) for example in parts.training])
    order = fitting.batches([len(row) for row in rows], BATCH, EPOCHS)

    def feeds() -> Iterator[dict[str, Any]]:
        for chosen in order:
            ids = fitting.padded([rows[index] for index in chosen], tokenizer.pad_token_id)
            yield {
                "input_ids": ids,
                "attention_mask": (ids != tokenizer.pad_token_id).long(),
                "labels": targets[chosen],
            }

    fitting.fit(model, feeds(), steps=len(order), learning_rate=1e-3, report=report)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write(folder, parts)
    answers = [labels[index] for index in _answers(model, tokenizer, [example.text for example in parts.evaluation])]
    truth = [example.label for example in parts.evaluation]
    return checkpoint.Measured(
        metric="accuracy",
        value=scores.accuracy(answers, truth),
        baselines={"always the most frequent family": scores.majority(truth)},
        higher_is_better=True,
        examples={part: len(getattr(parts, part)) for part in ("training", "calibration", "evaluation")},
        about=ABOUT.format(labels=", ".join(labels)),
        samples=tuple(
            (example.text, example.label, answer)
            for example, answer in zip(parts.evaluation[:8], answers, strict=False)
        ),
    )


def examples(objects: Iterable[Documented]) -> list[Example]:
    """Texts with their families, equal texts once, rare families left out."""
    family_of = {module: family for family, modules in FAMILIES.items() for module in modules.split()}
    found: dict[str, Example] = {}
    for thing in objects:
        text = " ".join(thing.docstring.split())
        family = family_of.get(thing.module.partition(".")[0])
        if family and len(text) >= SHORTEST:
            found.setdefault(text.lower(), Example(text, family, thing.key))
    counts = Counter(example.label for example in found.values())
    return [example for example in found.values() if counts[example.label] >= RAREST]


def _answers(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    import torch

    answers: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(texts[start : start + BATCH], truncation=True, padding=True, return_tensors="pt")
            answers += model(**batch).logits.argmax(-1).tolist()
    return answers


def _write(folder: Path, parts: Split[Example]) -> None:
    for path, rows in ((checkpoint.EVALUATION, parts.evaluation), (checkpoint.CALIBRATION, parts.calibration)):
        checkpoint.write_rows(folder / path, ({"text": row.text, "label": row.label} for row in rows))
