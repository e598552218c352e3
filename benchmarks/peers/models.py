"""What the peers run: checkpoints, the token ids they are asked with, and the arithmetic in a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import processes

WORKERS = Path(__file__).with_name("workers")
SHAPES = ((1, 16), (1, 128), (8, 128))
EXAMPLE = "The film was dreadful."

BERT_BASE = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 512,
}  # fmt: skip
QWEN3_06B = {
    "vocab_size": 151936, "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """A model to run.

    Attributes:
        name: On the command line.
        title: For people.
        measure: How answers are compared: ``embedding``, ``labels``, or ``""`` where only speed counts.
        of: ``encoder`` or ``decoder``.
        random: The kind and configuration of a random one; None for one of edgekit's catalog.
        task: Of a random one.
    """

    name: str
    title: str
    measure: str = ""
    of: str = "encoder"
    random: tuple[str, Mapping[str, Any]] | None = None
    task: str = ""


MODELS = {
    model.name: model
    for model in (
        Model("minilm", "all-MiniLM-L6-v2 (22 M parameters), sentence embeddings", "embedding"),
        Model("py-modules", "py-modules (1 M), a text classifier trained here", "labels"),
        Model("py-tokens", "py-tokens (0.6 M), a token classifier trained here", "labels"),
        Model("bert-base", "a random encoder of BERT-base's size (109 M), speed only", random=("bert", BERT_BASE),
              task="feature-extraction"),
        Model("qwen3-0.6b", "a random decoder in Qwen3-0.6B's shape (596 M), speed only", of="decoder",
              random=("qwen3", QWEN3_06B), task="text-generation"),
    )
}  # fmt: skip


def prepare(model: Model, pythons: Mapping[str, Path], root: Path) -> dict[str, Any]:
    """Find or make the checkpoint and the token ids.

    Args:
        model: The model.
        pythons: Of the environments ``edgekit`` and ``transformers``.
        root: Where checkpoints and artefacts are kept.

    Returns:
        What workers are told as ``model``: paths, task, sizes, the checkpoint's configuration.

    Raises:
        UnavailableError: It cannot be made here.
    """
    folder = root / model.name
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"name": model.name, "task": model.task, "source": model.name, "text": EXAMPLE}
    own = WORKERS / "run_edgekit.py"
    if model.random:
        kind, config = model.random
        asked = {"command": "checkpoint", "folder": str(folder / "checkpoint"), "kind": kind, "config": config}
        if model.of == "encoder":  # MiniLM reads the same vocabulary
            other = processes.ask(pythons["edgekit"], own, {"command": "checkpoint", "name": "minilm"})
            asked["tokenizer"] = other.values["checkpoint"]
        facts |= processes.ask(pythons["transformers"], WORKERS / "run_random.py", asked).values
        facts["source"] = facts["checkpoint"]
        texts = folder / "texts.txt"
        texts.write_text("".join(f"t{i} t{i + 1} t{i + 2} t{i + 3}\n" for i in range(1, 200, 10)), encoding="utf-8")
        facts["texts"] = str(texts)
    else:
        facts |= processes.ask(pythons["edgekit"], own, {"command": "checkpoint", "name": model.name}).values
    if model.of == "encoder":
        facts["calibration"], facts["judged"] = (str(folder / f"{name}.json") for name in ("calibration", "judged"))
        asked = {"command": "inputs", "model": facts, "calibration": facts["calibration"], "judged": facts["judged"]}
        processes.ask(pythons["edgekit"], own, asked)
    return facts


def shapes(max_length: int) -> dict[str, tuple[int, int]]:
    """The shapes to time, by name; a model that reads fewer tokens is given as many as it reads."""
    cut = [(batch, min(length, max_length)) for batch, length in SHAPES]
    return {f"{batch}x{length}": (batch, length) for batch, length in cut}


def operations(config: Mapping[str, Any], batch: int, length: int) -> float | None:
    """Multiplications and additions in the products of a call, 1e9; None for what is no plain BERT.

    Per token and layer: query, key, value and output (4 hidden²), the two of the feed-forward part
    (2 hidden · inner), and attention's two (2 length · hidden); a multiplication with its addition counts as two.
    """
    if config.get("model_type") != "bert":
        return None
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    per_token = 4 * hidden * hidden + 2 * hidden * inner + 2 * length * hidden
    return 2 * per_token * layers * batch * length / 1e9
