"""The checkpoint's tokenizer, as the one file a device reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edgekit.errors import CheckpointError, ExportError
from edgekit.stages.quiet import first_line, quiet

FILE: Final = "tokenizer.json"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that transformers loads from a checkpoint.

    Raises:
        CheckpointError: There is none, or its files are broken.
    """
    with quiet():
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{folder}: transformers cannot load its tokenizer: {first_line(error)}",
                hint="check that tokenizer.json and tokenizer_config.json are there and whole",
            ) from error


def tokenizer_json(tokenizer: Any, folder: Path, *, generates: bool = False) -> bytes:
    """The content of ``tokenizer.json``, without padding and truncation.

    Args:
        tokenizer: From :func:`load_tokenizer`.
        folder: The checkpoint's, for errors.
        generates: Whether the model continues text: the side it pads on is then the generating loop's business.

    Raises:
        CheckpointError: The tokenizer has no fast form.
        ExportError: It pads or truncates on the left.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CheckpointError(
            f"{folder}: the tokenizer has no fast form, and devices only read {FILE}",
            hint="convert it with transformers' AutoTokenizer(use_fast=True).save_pretrained",
        )
    if tokenizer.truncation_side != "right" or (tokenizer.padding_side != "right" and not generates):
        raise ExportError("the tokenizer pads or truncates on the left, which bundles do not carry yet")
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(backend.to_str())
    plain.no_padding()
    plain.no_truncation()
    return (plain.to_str(pretty=False) + "\n").encode()


def max_length(tokenizer: Any, config: Any) -> int:
    """Tokens that a text is truncated to: the tokenizer's limit, or the model's positions where it has none."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 0)
    limit = int(tokenizer.model_max_length)
    if positions and limit > positions:
        # RoBERTa counts positions from the padding id on.
        offset = int(config.pad_token_id) + 1 if config.model_type in _OFFSET_POSITIONS else 0
        return positions - offset
    return min(limit, 1 << 24)


_OFFSET_POSITIONS: Final = ("roberta", "xlm-roberta", "camembert", "mpnet")
