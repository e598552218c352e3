"""Tokenizers trained on the same text as the model, saved as ``tokenizer.json`` like everyone's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

PAD: Final = "<pad>"
END: Final = "</s>"
_BERT_TOKENS: Final = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip


def wordpiece(texts: Iterable[str], *, vocabulary: int, lowercase: bool, max_length: int) -> Any:
    """A tokenizer like BERT's: words and punctuation, then pieces, between ``[CLS]`` and ``[SEP]``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = list(_BERT_TOKENS.values())
    tokenizer = Tokenizer(models.WordPiece(unk_token=_BERT_TOKENS["unk_token"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", special.index("[SEP]")), ("[CLS]", special.index("[CLS]"))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **_BERT_TOKENS,
    )


def byte_level(texts: Iterable[str], *, vocabulary: int, ends: bool, max_length: int) -> Any:
    """A tokenizer like GPT-2's: byte pairs, so every text comes back as it was.

    Args:
        texts: What to learn from.
        vocabulary: Number of tokens, special ones included.
        ends: Whether every text gets the end token, as T5's do.
        max_length: Tokens the model reads at most.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        pad_token=PAD,
        eos_token=END,
    )
