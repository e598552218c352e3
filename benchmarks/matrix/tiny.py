"""A tiny random model of any architecture that transformers knows.

The default configuration of a type is shrunk by the names of its attributes, sub-configurations
included, then built again so that derived attributes follow. Weights are drawn with a fixed seed and
at a scale at which answers depend on the input: at transformers' own scale (0.02) a tiny model's
answers are nearly constant, and parity would be proved of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = 32
HEADS: Final = 4
VOCABULARY: Final = 128
SEED: Final = 20261124


def _each(names: str, value: int) -> dict[str, int]:
    return dict.fromkeys(names.split(), value)


# Attribute -> value, wherever the attribute exists and holds a larger number.
_NUMBERS: Final[Mapping[str, int]] = {
    **_each("hidden_size d_model n_embd embedding_size embed_dim dim emb_dim d_embed model_dim hidden_dim", HIDDEN),
    **_each("projection_dim word_embed_proj_dim attention_hidden_size encoder_hidden_size decoder_hidden_size", HIDDEN),
    **_each("output_hidden_size out_hidden_size cross_attention_hidden_size text_embed_dim feature_size", HIDDEN),
    **_each("proj_size classifier_proj_size mask_feature_size bottleneck_dim fusion_hidden_size", HIDDEN),
    **_each("encoder_hidden_dim backbone_hidden_size", HIDDEN),
    **_each("num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers", 2),
    **_each("num_decoder_layers encoder_num_hidden_layers decoder_num_hidden_layers num_hidden_groups", 2),
    **_each("num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads", HEADS),
    **_each("num_encoder_attention_heads num_decoder_attention_heads decoder_num_attention_heads", HEADS),
    **_each("intermediate_size ffn_dim d_ff n_inner encoder_ffn_dim decoder_ffn_dim ffn_hidden_size", 2 * HIDDEN),
    **_each("dim_feedforward d_inner feed_forward_size mlp_dim encoder_intermediate_size", 2 * HIDDEN),
    **_each("decoder_intermediate_size shared_intermediate_size block_ff_dim", 2 * HIDDEN),
    **_each("moe_intermediate_size shared_expert_intermediate_size expert_ffn_dim expert_dim", HIDDEN),
    **_each("num_key_value_heads num_kv_heads multi_query_group_num", HEADS // 2),
    **_each("head_dim d_kv kv_channels attention_head_dim", HIDDEN // HEADS),
    **_each("num_experts num_local_experts n_routed_experts moe_num_experts num_routed_experts", 4),
    **_each("num_experts_per_tok num_experts_per_token moe_top_k top_k_experts moe_k", 2),
    **_each("n_shared_experts first_k_dense_replace", 1),
    **_each("q_lora_rank kv_lora_rank", 16),
    **_each("qk_rope_head_dim qk_nope_head_dim v_head_dim", 8),
    **_each("image_size backbone_image_size", 32),
    **_each("num_mel_bins num_conv_pos_embeddings mamba_d_state", 16),
    **_each("num_latents mamba_n_heads mamba_d_head state_size time_step_rank hidden_size_per_layer_input", 8),
    **_each("sliding_window attention_window_size", 8),
    **_each("num_queries", 10),
    **_each("num_codevectors_per_group", 20),
    **_each("num_conv_pos_embedding_groups", 2),
    **_each("max_source_positions", 40),
    **_each("max_target_positions", 64),
    **_each("max_position_embeddings n_positions max_seq_len", 128),
    **_each("patch_size", 8),
}
# Attribute -> value of a list, cut to its length: one entry for each stage.
_LISTS: Final[Mapping[str, tuple[int, ...]]] = {
    "hidden_sizes": (16, 32, 48, 64, 80, 96),
    "embed_dims": (16, 32, 48, 64),
    "depths": (1,) * 8,
    "conv_dim": (HIDDEN,) * 16,
    "num_heads": (2, 4, 4, 4, 4, 4),
    "num_attention_heads": (1, 2, 4, 4),
}
_LAYER_KINDS: Final = ("layer_types", "layers_block_type", "block_types")
_IDS: Final[Mapping[str, int]] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


def tiny_config(model_type: str, overrides: Mapping[str, Any]) -> Any:
    """The configuration of ``model_type``, shrunk; ``overrides`` win, tables of sub-configurations too."""
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[model_type]
    config = config_class(**_merged(shrunk(config_class()), overrides))
    config.architectures = config.architectures or []  # Auto classes with two candidates ask whether it names one
    return config


def shrunk(config: Any) -> dict[str, Any]:
    """The keyword arguments that build ``config`` again, tiny."""
    found = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    arguments = {name: smaller for name, value in found.items() if (smaller := _smaller(name, value)) is not None}
    _layer_kinds(found, arguments)
    _special_ids(found, arguments)
    return arguments


def _smaller(name: str, value: Any) -> Any:
    """The tiny value of an attribute; None where it stays as it is."""
    if hasattr(value, "to_dict") and hasattr(value, "model_type"):
        inner = {"model_type": value.model_type, **shrunk(value)}
        if hasattr(value, "depths") and getattr(value, "out_features", None):
            inner["out_features"] = list(value.out_features)  # a backbone's stages, not in vars()
        return inner
    if isinstance(value, int) and not isinstance(value, bool):
        limit = VOCABULARY if name.endswith("vocab_size") else _NUMBERS.get(name)
        return min(value, limit) if limit is not None and value > 0 else None
    if isinstance(value, (list, tuple)):
        if name == "image_size":
            return [_NUMBERS[name]] * len(value)
        return list(_LISTS[name][: len(value)]) if name in _LISTS else None
    return None


def _layer_kinds(found: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    """Keep one layer of each kind, in the order in which they first appear, and at least two layers."""
    name = next((name for name in _LAYER_KINDS if isinstance(found.get(name), (list, tuple)) and found[name]), None)
    if name is None:
        return
    kinds = list(dict.fromkeys(found[name]))
    if len(kinds) == 1:
        kinds *= 2
    arguments[name] = kinds
    for layers in ("num_hidden_layers", "n_layer", "num_layers"):
        if layers in found:
            arguments[layers] = len(kinds)


def _special_ids(found: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    """Ids beyond the shrunk vocabulary get places inside it, each its own."""
    free = VOCABULARY - 1
    for name, value in found.items():
        if not name.endswith(("_token_id", "_token_index")) or isinstance(value, bool):
            continue
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(first, int) and first >= VOCABULARY:
            if name in _IDS:
                arguments[name] = _IDS[name]
            else:
                arguments[name], free = free, free - 1


def _merged(arguments: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in overrides.items():
        inner = arguments.get(name)
        arguments[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return arguments


def tiny_model(model_class: Any, config: Any, *, gain: float = 1.4) -> Any:
    """A model of ``model_class`` (one of transformers' Auto classes) in float32 on the CPU, ready to answer."""
    import torch

    torch.manual_seed(SEED)
    model = model_class.from_config(config).float().eval()
    enliven(model, gain)
    return model


def enliven(model: Any, gain: float) -> None:
    """Draw weights at a scale that carries signal: products by fan-in, norms near one, biases and tokens not zero.

    Parameters that start at chosen values (decays of state-space layers, relative position tables) stay.

    Args:
        model: A torch module; changed in place.
        gain: Size of a product's output over its input's. 1.4 keeps a signal alive through ReLU.
    """
    import torch

    draw = torch.Generator().manual_seed(SEED)
    seen: set[int] = set()
    with torch.no_grad():
        for module in model.modules():
            for name, weight in module.named_parameters(recurse=False):
                if id(weight) not in seen and weight.is_floating_point():
                    seen.add(id(weight))
                    _draw(module, name, weight, torch.randn(weight.shape, generator=draw), gain)
            for name, buffer in module.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.add_(torch.randn(buffer.shape, generator=draw) * 0.1)
                elif name == "running_var":
                    buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)


def _draw(module: Any, name: str, weight: Any, noise: Any, gain: float) -> None:
    from torch import nn

    turned = type(module).__name__ == "Conv1D"  # GPT-2's product, with its weight the other way round
    if weight.ndim >= 2 and (turned or isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))):
        fan_in = weight.shape[0] if turned else weight[0].numel()
        weight.copy_(noise * (gain / math.sqrt(fan_in)))
    elif isinstance(module, nn.Embedding):
        weight.copy_(noise * 0.5)
    elif weight.ndim >= 2 and float(weight.std()) < 0.1 and float(weight.abs().max()) < 0.5:
        weight.copy_(noise * (gain / math.sqrt(HIDDEN)))  # experts, class tokens, positions
    elif name == "weight" and isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)):  # noqa: SLF001 -- the class that all batch norms share
        weight.copy_(1 + noise * 0.1)  # some architectures start at zero, which would be silence
    elif weight.ndim == 1 and (float(weight.std(correction=0)) == 0 or name == "bias"):
        weight.add_(noise * 0.1)
