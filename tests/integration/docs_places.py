"""What a page of docs/ takes for granted: the reader's data files, and the hub's checkpoints, tiny and random."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

from . import audio_checkpoints, generating, text_checkpoints, vision_checkpoints
from .changed_bundles import changed_copy
from .docs_commands import ROOT, environment
from .local_hub import Repository

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STAND_INS = ("minilm", "new", "released")  # names of bundles that pages take for granted; each is MiniLM's
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
NO_OR_YES = ("no", "yes")
ENTAILMENT = ("contradiction", "neutral", "entailment")


def _text(kind: str, head: str, labels: tuple[str, ...] = ()) -> Callable[[Path], object]:
    return lambda folder: text_checkpoints.write(folder, kind, f"AutoModelFor{head}", labels)


# By the name in the hub that a page gives.
CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": _text("bert", "SequenceClassification", NO_OR_YES),
    "MoritzLaurer/deberta-v3-base-zeroshot-v2.0": _text("deberta-v2", "SequenceClassification", ENTAILMENT),
    "dslim/bert-base-NER": _text("bert", "TokenClassification", NAMES),
    "deepset/roberta-base-squad2": _text("roberta", "QuestionAnswering"),
    "cross-encoder/ms-marco-MiniLM-L6-v2": _text("bert", "SequenceClassification", ("score",)),
    "google-bert/bert-base-uncased": _text("bert", "MaskedLM"),
    "Qwen/Qwen3-0.6B": lambda folder: generating.write_checkpoint("qwen3", folder),
    "google-t5/t5-small": lambda folder: generating.write_checkpoint("t5", folder),
    "google/vit-base-patch16-224": lambda folder: vision_checkpoints.write_image_checkpoint(folder, "vit"),
    "openai/clip-vit-base-patch32": lambda folder: vision_checkpoints.write_image_checkpoint(folder, "clip"),
    "openai/whisper-tiny": audio_checkpoints.write_whisper,
    "MIT/ast-finetuned-audioset-10-10-0.4593": audio_checkpoints.write_ast,
}


def hub_of(page: str, folder: Path) -> dict[str, Repository]:
    """The repositories that a page names, written into a folder."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = {name: make for name, make in CHECKPOINTS.items() if f"export {name} " in text}
    for name, make in found.items():
        make(folder / name)
    return {name: Repository(folder / name, COMMIT) for name in found}


def furnish(page: str, folder: Path, minilm: Path) -> None:
    """Put in place what the page's reader has already."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in STAND_INS:
        if re.search(rf"bundles/{name}\b", text) and not re.search(rf"export .*-o bundles/{name}\b", text):
            shutil.copytree(minilm, folder / "bundles" / name)
    for name, write in FILES.items():
        if name in text:
            write(folder)
    if page == "docs/distribution.md":
        _sign(folder)
    if "edgekit rollback" in text:
        _install(changed_copy(minilm, folder / "older", version="0.9.0"), folder)


def _sign(folder: Path) -> None:
    """A key, and a signed bundle that it is trusted for, as docs/signing.md makes them."""
    script = (
        "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; mkdir trust; "
        "openssl ec -in key.pem -pubout -out trust/release.pem; edgekit sign bundles/minilm --key key.pem"
    )
    subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment(folder), check=True, capture_output=True, timeout=120
    )


def _install(bundle: Path, folder: Path) -> None:
    """The version that the reader's device has had until now."""
    install = [sys.executable, "-m", "edgekit", "install", str(bundle)]
    subprocess.run(install, cwd=folder, env=environment(folder), check=True, capture_output=True, timeout=120)


def _lines(name: str, rows: list[dict[str, object]]) -> Callable[[Path], object]:
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _pictures(folder: Path) -> None:
    (folder / "photos").mkdir()
    for number, name in enumerate(("cat", "dog")):
        (folder / "animals" / name).mkdir(parents=True)
        for place in (folder / "photos", folder / "animals" / name):
            (place / f"{name}.png").write_bytes(_png(40 + 8 * number, 48))


def _png(width: int, height: int) -> bytes:
    """Stripes, RGB: the least that is a PNG file."""
    row = b"\0" + bytes(range(256)) * 3
    body = zlib.compress(b"".join(row[: 1 + 3 * width] for _ in range(height)))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", body), (b"IEND", b"")
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _clip(folder: Path) -> None:
    with wave.open(str(folder / "clip.wav"), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(16_000)
        clip.writeframes(b"".join(struct.pack("<h", (place * 7919) % 20_000 - 10_000) for place in range(12_000)))
    (folder / "clips.csv").write_text("audio\nclip.wav\n", encoding="utf-8")


FILES: dict[str, Callable[[Path], object]] = {
    "reviews.csv": lambda folder: (folder / "reviews.csv").write_text("text\nA fine film.\nA waste of time.\nBread.\n"),
    "sentences.jsonl": _lines("sentences.jsonl", [{"text": "Maria flew to Rio ."}, {"text": "The cat sat ."}]),
    "questions.jsonl": _lines(
        "questions.jsonl", [{"question": "who sat?", "context": "the old cat sat on a mat in paris"}]
    ),
    "articles.jsonl": _lines("articles.jsonl", [{"text": "the old cat sat on a mat", "target": "a cat sat"}] * 3),
    "prompts.txt": lambda folder: (folder / "prompts.txt").write_text("Once upon a time there was a cat.\n" * 3),
    "photos/cat.png": _pictures,
    "clip.wav": _clip,
}
