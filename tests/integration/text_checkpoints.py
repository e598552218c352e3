"""Tiny random checkpoints with heads for text tasks, each with a real small tokenizer."""

from pathlib import Path

from edgekit.stages.quiet import quiet

from ..unit.small_tokenizer import bytelevel_json  # noqa: TID252 - tests are no installed package
from .checkpoints import minilm_folder

MAX_LENGTH = 64
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_LENGTH,
    "initializer_range": 0.4,  # at the usual 0.02 a random model answers nearly the same to every text
}


def write(folder: Path, kind: str, head: str, labels: tuple[str, ...] = (), **config) -> Path:
    """What save_pretrained writes; ``kind`` is a model type of transformers, ``head`` its auto class."""
    with quiet():
        import torch
        import transformers

        torch.manual_seed(0)
        tokenizer = bytelevel() if kind == "roberta" else wordpiece()
        named = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        made = transformers.AutoConfig.for_model(
            kind,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            **_renamed(kind, dict(_SIZES)),
            **(named if labels else {}),
            **config,
        )
        if kind == "roberta":
            made.max_position_embeddings += made.pad_token_id + 1
        getattr(transformers, head).from_config(made).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def wordpiece():
    """MiniLM's tokenizer, for short texts."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_folder(), model_max_length=MAX_LENGTH)


def bytelevel():
    """A byte-level tokenizer with RoBERTa's template."""
    from tokenizers import Tokenizer
    from transformers import RobertaTokenizer

    backend = Tokenizer.from_str(bytelevel_json().decode())
    return RobertaTokenizer(tokenizer_object=backend, model_max_length=MAX_LENGTH)


def _renamed(kind, sizes):
    if kind != "distilbert":
        return sizes
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
             "intermediate_size": "hidden_dim"}  # fmt: skip
    return {names.get(name, name): value for name, value in sizes.items()}
