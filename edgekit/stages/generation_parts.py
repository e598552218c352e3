"""What is exported of a generating model: its components, their inputs, and which of their sizes are free.

A decoder-only model has

- ``prefill``: ``input_ids`` and ``attention_mask`` int64 (batch, sequence), ``position_ids`` (batch, sequence) where
  the model reads positions, ``logit_positions`` int64 (batch, kept), the places whose logits are wanted; it gives
  ``logits`` float32 (batch, kept, vocabulary), ``present.{layer}.key`` and ``present.{layer}.value``
  (batch, heads, sequence, head size);
- ``decode``: ``input_ids`` (batch, 1), ``attention_mask`` (batch, total), where total is past + 1, ``position_ids``
  (batch, 1), ``past.{layer}.key`` and ``past.{layer}.value`` (batch, heads, past, head size); it gives ``logits``
  (batch, 1, vocabulary) and ``present.{layer}.…`` (batch, heads, total, head size).

An encoder-decoder model has

- ``encoder``: ``input_ids`` and ``attention_mask`` int64 (batch, source), or a speech model's ``input_features``
  float32 (batch, bins, frames); it gives ``encoder_hidden_states`` (batch, source, hidden);
- ``prefill``: the decoder's ``input_ids`` (batch, target), ``encoder_hidden_states``, and ``encoder_attention_mask``
  (batch, source) where the encoder takes a mask; it gives ``logits`` (batch, target, vocabulary),
  ``present.{layer}.…``, and the cross-attention's ``cross.{layer}.key`` and ``cross.{layer}.value``
  (batch, heads, source, head size);
- ``decode``: ``input_ids`` (batch, 1), ``encoder_attention_mask``, ``past.{layer}.…`` and ``cross.{layer}.…``; it
  gives ``logits`` (batch, 1, vocabulary) and ``present.{layer}.…``.

Heads, head size, vocabulary, and a speech encoder's bins, frames and source are the model's own numbers; every other
size is free.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgekit.errors import ExportError
from edgekit.stages.export import Part

# Sample sizes. None is 0 or 1, which torch.export would bake in, and all differ, so that none is taken for another.
BATCH: Final = 2
LENGTH: Final = 7
SOURCE: Final = 11
PAST: Final = 5
KEPT: Final = 3

# Where configurations say what their layers are, and the kinds that keep a state of another form.
_LAYER_KINDS: Final = ("layer_types", "layers_block_type", "block_types")
_RECURRENT: Final = frozenset({"mamba", "mamba2", "linear_attention", "conv", "recurrent", "hybrid"})

Axes = tuple[str | int, ...]


def generation_parts(model: Any) -> dict[str, Part]:
    """The components of a causal language model or of an encoder-decoder model.

    Args:
        model: A transformers model with a generation head, float32, in evaluation mode.

    Raises:
        ExportError: The model keeps something else than keys and values between steps.
    """
    _require_keys_and_values(model)
    return _encoder_decoder_parts(model) if model.config.is_encoder_decoder else _decoder_parts(model)


def cache_argument(model: Any) -> str:
    """What the model calls its cache, as an input and as an output; empty where it has none.

    transformers 5.24 renamed ``past_key_values`` to ``cache``.
    """
    takes = inspect.signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in takes), "")


def _require_keys_and_values(model: Any) -> None:
    text = model.config.get_text_config()
    kinds = {kind for name in _LAYER_KINDS for kind in getattr(text, name, None) or ()}
    if not cache_argument(model) or kinds & _RECURRENT:
        raise ExportError(
            f"{type(model).__name__}: prefill cannot be exported: between steps it keeps the state of recurrent or "
            "convolution layers, or nothing, instead of keys and values",
            hint="edgekit generates with models whose layers all are attention; docs/architectures.md lists some",
        )


def _decoder_parts(model: Any) -> dict[str, Part]:
    import torch

    from edgekit.stages.generation_modules import Decoder

    module = Decoder(model)
    takes = inspect.signature(model.forward).parameters
    ids = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % model.config.get_text_config().vocab_size
    sample = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs: dict[str, Axes] = {"input_ids": ("batch", "sequence"), "attention_mask": ("batch", "sequence")}
    if "position_ids" in takes:
        sample["position_ids"] = torch.arange(LENGTH).expand(BATCH, LENGTH)
        inputs["position_ids"] = ("batch", "sequence")
    sample["logit_positions"] = torch.arange(BATCH * KEPT).reshape(BATCH, KEPT)
    inputs["logit_positions"] = ("batch", "kept")
    with torch.no_grad():
        answer = module(**sample)
    vocabulary = answer["logits"].shape[-1]
    layers = _layers(answer["present"])
    prefill = _part(
        module, sample, inputs, {"logits": ("batch", "kept", vocabulary), **_axes("present", layers, "sequence")}
    )
    step = {"input_ids": ids[:, :1], "attention_mask": torch.ones(BATCH, PAST + 1, dtype=torch.int64)}
    step_inputs: dict[str, Axes] = {"input_ids": ("batch", 1), "attention_mask": ("batch", "total")}
    if "position_ids" in takes:
        step["position_ids"] = torch.full((BATCH, 1), PAST)
        step_inputs["position_ids"] = ("batch", 1)
    step["past"] = _cache(layers, PAST)
    decode = _part(
        module,
        step,
        {**step_inputs, **_axes("past", layers, "past")},
        {"logits": ("batch", 1, vocabulary), **_axes("present", layers, "total")},
    )
    return {"prefill": prefill, "decode": decode}


def _encoder_decoder_parts(model: Any) -> dict[str, Part]:
    import torch

    from edgekit.stages.generation_modules import CrossDecoder, Encoder

    encoder, decoder = Encoder(model), CrossDecoder(model)
    sample, inputs, source = _encoder_sample(model)
    with torch.no_grad():
        states = encoder(**sample)["encoder_hidden_states"]
    parts = {"encoder": _part(encoder, sample, inputs, {"encoder_hidden_states": ("batch", source, states.shape[-1])})}
    ids = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % model.config.get_text_config().vocab_size
    # Longer than the encoder's own answer need be: a speech encoder's fixed length is not the decoder's.
    states = torch.randn(BATCH, SOURCE, states.shape[-1])
    sample = {"input_ids": ids, "encoder_hidden_states": states}
    inputs = {"input_ids": ("batch", "target"), "encoder_hidden_states": ("batch", "source", states.shape[-1])}
    masked = {}
    if "attention_mask" in parts["encoder"].sample:
        masked = {"encoder_attention_mask": torch.ones(BATCH, SOURCE, dtype=torch.int64)}
        inputs["encoder_attention_mask"] = ("batch", "source")
    with torch.no_grad():
        answer = decoder(**sample, **masked)
    vocabulary = answer["logits"].shape[-1]
    layers, cross = _layers(answer["present"]), _layers(answer["cross"])
    parts["prefill"] = _part(
        decoder,
        {**sample, **masked},
        inputs,
        {
            "logits": ("batch", "target", vocabulary),
            **_axes("present", layers, "target"),
            **_axes("cross", cross, "source"),
        },
    )
    inputs = {"input_ids": ("batch", 1)}
    if masked:
        inputs["encoder_attention_mask"] = ("batch", "source")
    parts["decode"] = _part(
        decoder,
        {"input_ids": ids[:, :1], **masked, "past": _cache(layers, PAST), "cross": _cache(cross, SOURCE)},
        {**inputs, **_axes("past", layers, "past"), **_axes("cross", cross, "source")},
        {"logits": ("batch", 1, vocabulary), **_axes("present", layers, "total")},
    )
    return parts


def _part(module: Any, sample: Mapping[str, Any], inputs: Mapping[str, Axes], outputs: Mapping[str, Axes]) -> Part:
    return Part(module, sample, tuple(outputs), {**inputs, **outputs}, fused=True)


def _encoder_sample(model: Any) -> tuple[dict[str, Any], dict[str, Axes], str | int]:
    """Example inputs of the encoder, their axes, and its output's length: a speech encoder's is the model's own."""
    import torch

    config = model.config
    if model.main_input_name not in ("input_ids", "input_features") or (
        model.main_input_name == "input_features" and not hasattr(config, "num_mel_bins")
    ):
        raise ExportError(
            f"{type(model).__name__}: the encoder cannot be exported: edgekit exports encoders that read tokens or "
            f"Whisper's windows of features; this one reads {model.main_input_name} in a form of its own",
            hint="choose a Whisper checkpoint, or a speech model with a CTC head",
        )
    if model.main_input_name == "input_features":
        # Whisper's encoder adds one position to each of its states and takes no other length.
        frames = config.max_source_positions * 2
        features = torch.randn(BATCH, config.num_mel_bins, frames)
        return (
            {"input_features": features},
            {"input_features": ("batch", config.num_mel_bins, frames)},
            config.max_source_positions,
        )
    ids = torch.arange(BATCH * SOURCE).reshape(BATCH, SOURCE) % config.get_text_config().vocab_size
    return (
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        {"input_ids": ("batch", "source"), "attention_mask": ("batch", "source")},
        "source",
    )


def _layers(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[int, int]]]:
    """Heads and head size of each layer's key and value."""
    return [{name: (tensor.shape[1], tensor.shape[3]) for name, tensor in layer.items()} for layer in layers]


def _axes(prefix: str, layers: Sequence[Mapping[str, tuple[int, int]]], length: str) -> dict[str, Axes]:
    return {
        f"{prefix}.{index}.{name}": ("batch", heads, length, size)
        for index, layer in enumerate(layers)
        for name, (heads, size) in layer.items()
    }


def _cache(layers: Sequence[Mapping[str, tuple[int, int]]], length: int) -> list[dict[str, Any]]:
    import torch

    return [
        {name: torch.randn(BATCH, heads, length, size) for name, (heads, size) in layer.items()} for layer in layers
    ]
