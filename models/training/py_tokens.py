"""py-tokens: a token classifier that tells what each word of a line of Python source is."""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import checkpoint, fitting, scores
from training.sources import module_name, source_files, standard_library
from training.split import Split, sample, split
from training.tokenizing import wordpiece

TASK: Final = "token-classification"
MAX_LENGTH: Final = 96
VOCABULARY: Final = 4000
EPOCHS: Final = 4
BATCH: Final = 64
MODULES: Final = 240  # of the standard library: Python's tokenizer is slow before 3.12
LINES: Final = 24_000  # of the training part
HELD_OUT_LINES: Final = 1_000
FEWEST, MOST = 4, 40  # words in a line
IGNORED: Final = -100  # what transformers' losses skip

LABELS: Final = (
    "attribute", "builtin", "call", "class", "comment", "function", "keyword", "name", "number", "operator", "string",
)  # fmt: skip
_BUILTINS: Final = frozenset(name for name in dir(builtins) if not name.startswith("_"))

ABOUT: Final = """\
Tells what each word of a line of Python source is: {labels}. A small ModernBERT, trained from nothing on lines of the
standard library of the machine that trained it (PSF licence); the labels come from the language's own tokenizer.

Words are Python's tokens, strings and comments broken up at spaces; a line is the words with single spaces between
them. `function` and `class` are names where they are defined, `call` a name before an opening bracket. A word's answer
is that of its first sub-token; all of its sub-tokens were trained. Whole modules are held out, by a hash of their
names, and equal lines are counted once.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source as words, a label for each, and the module it is from.

    Words are the language's tokens; strings and comments are broken up at their spaces.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    module: str

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(self.words)


def train(folder: Path, report: fitting.Report) -> checkpoint.Measured:
    """Train, write the checkpoint into the folder, and measure it."""
    from transformers import ModernBertConfig, ModernBertForTokenClassification

    parts = chosen(library_lines())
    tokenizer = wordpiece(
        (line.text for line in parts.training), vocabulary=VOCABULARY, lowercase=False, max_length=MAX_LENGTH
    )
    model = ModernBertForTokenClassification(
        ModernBertConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=144,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            global_attn_every_n_layers=2,
            local_attention=32,
            num_labels=len(LABELS),
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
        )
    )
    rows = [_labelled(tokenizer, line) for line in parts.training]
    order = fitting.batches([len(ids) for ids, _ in rows], BATCH, EPOCHS)

    def feeds() -> Iterator[dict[str, Any]]:
        for indexes in order:
            ids = fitting.padded([rows[index][0] for index in indexes], tokenizer.pad_token_id)
            labels = fitting.padded([rows[index][1] for index in indexes], IGNORED)
            yield {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": labels}

    fitting.fit(model, feeds(), steps=len(order), learning_rate=2e-3, report=report)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path, lines in ((checkpoint.EVALUATION, parts.evaluation), (checkpoint.CALIBRATION, parts.calibration)):
        checkpoint.write_rows(
            folder / path,
            ({"text": line.text, "words": list(line.words), "labels": list(line.labels)} for line in lines),
        )
    answers = [_answer(model, tokenizer, line) for line in parts.evaluation]
    truth = [label for line in parts.evaluation for label in line.labels]
    given = [label for answer in answers for label in answer]
    return checkpoint.Measured(
        metric="accuracy per word",
        value=scores.accuracy(given, truth),
        baselines={
            "always the most frequent kind": scores.majority(truth),
            "each word's most frequent kind in training": scores.accuracy(_by_word(parts), truth),
        },
        higher_is_better=True,
        examples={part: len(getattr(parts, part)) for part in ("training", "calibration", "evaluation")},
        about=ABOUT.format(labels=", ".join(LABELS)),
        samples=tuple(
            (line.text, " ".join(line.labels), " ".join(answer))
            for line, answer in zip(parts.evaluation[:4], answers, strict=False)
        ),
    )


def library_lines() -> Iterator[Line]:
    """The lines of some modules of the standard library that can be labelled."""
    library = standard_library()
    modules = {module_name(path.relative_to(library)): path for path in source_files(library)}
    for module in sample(modules, str, MODULES):
        yield from labelled_lines(modules[module].read_bytes(), module)


def labelled_lines(source: bytes, module: str) -> Iterator[Line]:
    """The lines of a source that hold whole tokens, as labelled words; none of a source Python cannot tokenize."""
    words: dict[int, list[str]] = {}
    labels: dict[int, list[str]] = {}
    broken: set[int] = set()
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, tokenize.TokenError):  # templates, and sources of another version
        return
    spoken = [token for token in tokens if token.string.strip() and token.type not in _LAYOUT]
    for index, token in enumerate(spoken):
        row = token.start[0]
        if token.end[0] != row:
            broken.update(range(row, token.end[0] + 1))
            continue
        before = spoken[index - 1].string if index else ""
        after = spoken[index + 1].string if index + 1 < len(spoken) else ""
        pieces = token.string.split()
        words.setdefault(row, []).extend(pieces)
        labels.setdefault(row, []).extend([kind(token, before, after)] * len(pieces))
    for row, line in words.items():
        if row not in broken and FEWEST <= len(line) <= MOST:
            yield Line(tuple(line), tuple(labels[row]), module)


def kind(token: tokenize.TokenInfo, before: str, after: str) -> str:
    """The label of a token between its neighbours."""
    by_type = {tokenize.COMMENT: "comment", tokenize.NUMBER: "number", tokenize.OP: "operator"}
    if token.type in by_type:
        return by_type[token.type]
    if token.type != tokenize.NAME:
        return "string"  # from Python 3.12 on an f-string comes in parts
    if before in {"def", "class"}:
        return "function" if before == "def" else "class"
    return "keyword" if keyword.iskeyword(token.string) else _name_kind(token.string, before, after)


def _name_kind(name: str, before: str, after: str) -> str:
    if name in _BUILTINS and before != ".":
        return "builtin"
    if after == "(":
        return "call"
    return "attribute" if before == "." else "name"


def chosen(lines: Iterable[Line]) -> Split[Line]:
    """Distinct lines split by module, a sample of each part."""
    distinct = {line.words: line for line in lines}
    parts = split(distinct.values(), key=lambda line: line.module)
    return Split(
        tuple(sample(parts.training, _text, LINES)),
        tuple(sample(parts.calibration, _text, HELD_OUT_LINES // 4)),
        tuple(sample(parts.evaluation, _text, HELD_OUT_LINES)),
    )


_LAYOUT: Final = frozenset({tokenize.ENCODING, tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT})


def _text(line: Line) -> str:
    return line.text


def _labelled(tokenizer: Any, line: Line) -> tuple[list[int], list[int]]:
    encoded = tokenizer(list(line.words), is_split_into_words=True, truncation=True)
    targets = [IGNORED if word is None else LABELS.index(line.labels[word]) for word in encoded.word_ids()]
    return encoded["input_ids"], targets


def _answer(model: Any, tokenizer: Any, line: Line) -> list[str]:
    """A label for each word, from its first sub-token; words cut off by the length limit get the empty string."""
    import torch

    encoded = tokenizer(list(line.words), is_split_into_words=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        best = model(**encoded).logits[0].argmax(-1).tolist()
    answers = [""] * len(line.words)
    for position, word in reversed(list(enumerate(encoded.word_ids()))):
        if word is not None:
            answers[word] = LABELS[best[position]]
    return answers


def _by_word(parts: Split[Line]) -> list[str]:
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in parts.training:
        for word, label in zip(line.words, line.labels, strict=True):
            seen[word][label] += 1
    return [
        seen[word].most_common(1)[0][0] if word in seen else "name" for line in parts.evaluation for word in line.words
    ]
