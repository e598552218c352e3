"""Random checkpoints for speed alone: an encoder of BERT-base's size, a decoder in the shape that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from protocol import Request, Worker, serve

KINDS = {"bert": ("BertConfig", "BertModel"), "qwen3": ("Qwen3Config", "Qwen3ForCausalLM")}
FINISHED = "made.json"


def checkpoint(request: Request) -> dict[str, Any]:
    """Make it where it is not there yet; the tokenizer is another checkpoint's or, for a decoder, its ids' numbers."""
    folder, config = Path(request["folder"]), request["config"]
    if not (folder / FINISHED).exists() or json.loads((folder / FINISHED).read_text(encoding="utf-8")) != config:
        _make(folder, request["kind"], config)
        if request.get("tokenizer"):
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copyfile(Path(request["tokenizer"]) / name, folder / name)
        else:
            _number_tokenizer(folder, config["vocab_size"])
        (folder / FINISHED).write_text(json.dumps(config), encoding="utf-8")
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {
        "checkpoint": str(folder),
        "max_length": min(known["max_position_embeddings"], 512),
        "vocabulary": known["vocab_size"],
        "config": known | config,
    }


def _make(folder: Path, kind: str, config: dict[str, Any]) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    settings, model = (getattr(transformers, name) for name in KINDS[kind])
    model(settings(**config)).eval().save_pretrained(str(folder))


def _number_tokenizer(folder: Path, vocabulary: int) -> None:
    """Words ``t17``: every id has a text, and no text is needed to make it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<end>": 0, **{f"t{index}": index for index in range(1, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t1"))  # noqa: S106 - no secret
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict.fromkeys(("eos_token", "bos_token", "pad_token"), "<end>")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(str(folder))


if __name__ == "__main__":
    serve(Worker(more={"checkpoint": checkpoint}))
