"""The settings of a generating model, resolved as transformers resolves them: configs, tokenizer, pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgekit.spec.settings.generation import GenerationSettings

CHAT_TEMPLATE: Final = "chat_template.jinja"

# A text judged under teacher forcing answers one row of logits for each token, a choice for every word of the
# vocabulary. A megabyte an answer is what a few hundred of them, and a bundle's golden ones, can take.
ANSWER_VALUES: Final = 1 << 18
GOLDEN_VALUES: Final = 1 << 14  # logits in a golden case: 64 KiB, or two rows of them
MAX_PLACES: Final = 64

# What the pipeline of a task fills in where neither the model nor the user says: transformers 5.
_PIPELINE: Final[Mapping[str, Mapping[str, Any]]] = {
    "text-generation": {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7},
}
# What generate() fills in after that.
_GENERATE: Final[Mapping[str, Any]] = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
}
_DEFAULT_MAX_LENGTH: Final = 20


def generation_settings(model: Any, tokenizer: Any, task: str, chat_template: str) -> GenerationSettings:
    """How a model generates where the user says nothing.

    Args:
        model: A transformers model with a generation head.
        tokenizer: Its tokenizer.
        task: Hugging Face task name.
        chat_template: Path in the bundle of the tokenizer's chat template; empty where it has none.
    """
    config, generation = model.config.get_text_config(decoder=True), model.generation_config
    values: dict[str, Any] = {
        name: getattr(generation, name, None) for name in (*_GENERATE, "max_length", "max_new_tokens")
    }
    for defaults in (_PIPELINE.get(task, {}), _GENERATE):
        values |= {name: value for name, value in defaults.items() if values.get(name) is None}
    if values["max_length"] is None and values["max_new_tokens"] is None:
        values["max_length"] = _DEFAULT_MAX_LENGTH
    eos_ids = _ids(generation.eos_token_id)
    encoder_decoder = bool(model.config.is_encoder_decoder)
    return GenerationSettings(
        kind="encoder-decoder" if encoder_decoder else "decoder",
        layers=decoder_layers(model.config),
        eos_ids=eos_ids,
        pad_id=pad_id(model, tokenizer),
        bos_id=_id(generation.bos_token_id),
        decoder_start_id=decoder_start(model) if encoder_decoder else None,
        max_positions=max_positions(config),
        judged_places=judged_places(config.vocab_size),
        do_sample=bool(values["do_sample"]),
        num_beams=int(values["num_beams"]),
        temperature=float(values["temperature"]),
        top_k=int(values["top_k"]),
        top_p=float(values["top_p"]),
        min_p=float(values["min_p"]),
        repetition_penalty=float(values["repetition_penalty"]),
        no_repeat_ngram_size=int(values["no_repeat_ngram_size"]),
        max_length=_id(values["max_length"]),
        max_new_tokens=_id(values["max_new_tokens"]),
        min_length=int(values["min_length"]),
        min_new_tokens=int(values["min_new_tokens"]),
        forced_bos_id=_id(generation.forced_bos_token_id),
        forced_eos_ids=_ids(generation.forced_eos_token_id),
        suppress_ids=_ids(generation.suppress_tokens),
        begin_suppress_ids=_ids(generation.begin_suppress_tokens),
        prefixes=_prefixes(model.config),
        clean_up=_cleans_up(tokenizer),
        chat_template=chat_template,
        special_tokens={name: str(text) for name, text in tokenizer.special_tokens_map.items()},
    )


def chat_template(tokenizer: Any) -> bytes:
    """The tokenizer's chat template, of several the one named ``default``; empty where it has none."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, Mapping):
        template = template.get("default")
    return template.encode() if template else b""


def pad_id(model: Any, tokenizer: Any) -> int:
    """The id that fills a batch: the tokenizer's, the model's, or one that ends a text."""
    candidates = (
        tokenizer.pad_token_id,
        model.generation_config.pad_token_id,
        *_ids(model.generation_config.eos_token_id),
    )
    return next((int(candidate) for candidate in candidates if candidate is not None), 0)


def judged_places(vocabulary: int) -> int:
    """How many tokens of a text are judged: fewer where a row of logits is wide."""
    return min(max(ANSWER_VALUES // vocabulary, 1), MAX_PLACES)


def golden_places(vocabulary: int) -> int:
    """How many tokens of a golden case are judged: at least one by each graph that generates."""
    return max(GOLDEN_VALUES // vocabulary, 2)


def max_positions(config: Any) -> int:
    """Most tokens a decoder can hold; 0 where positions are relative."""
    for name in ("max_target_positions", "max_position_embeddings", "n_positions"):
        # T5 writes n_positions into its config and never looks at it.
        if getattr(config, name, None) and config.model_type not in _UNLIMITED:
            return int(getattr(config, name))
    return 0


def decoder_layers(config: Any) -> int:
    """How many layers of the decoder have a cache."""
    text = config.get_text_config(decoder=True)
    # The decoder's own, before what it has in common with the encoder.
    for name in ("num_decoder_layers", "num_hidden_layers", "num_layers", "n_layer"):
        if getattr(text, name, None):
            return int(getattr(text, name))
    raise ValueError(f"{type(config).__name__}: names no number of layers")


_UNLIMITED: Final = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "bloom")


def decoder_start(model: Any) -> int:
    """The first id of an encoder-decoder's own text."""
    generation = model.generation_config
    start = generation.decoder_start_token_id
    return int(generation.bos_token_id if start is None else start)


def _prefixes(config: Any) -> dict[str, str]:
    by_task = getattr(config, "task_specific_params", None) or {}
    return {task: values["prefix"] for task, values in by_task.items() if values.get("prefix")}


def _cleans_up(tokenizer: Any) -> bool:
    """As the tokenizer's own ``decode``: a byte-pair tokenizer ignores the setting unless it insists."""
    if not tokenizer.clean_up_tokenization_spaces:
        return False
    insists = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return type(tokenizer.backend_tokenizer.model).__name__ != "BPE" or bool(insists)


def _id(value: Any) -> int | None:
    return None if value is None else int(value)


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(item) for item in value) if isinstance(value, list | tuple) else (int(value),)
