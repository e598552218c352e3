"""The components of a generating model as torch modules with flat, named inputs and outputs.

Imported only where a model is exported: it needs torch at import. The caches are plain tensors here, one key and one
value per layer, so that every dimension of a component's inputs can be declared. All caches keep their full length,
sliding-window layers included; their window is in the mask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from edgekit.stages.generation_parts import cache_argument

Layers = Sequence[Mapping[str, Tensor]]  # per layer: "key" and "value", (batch, heads, length, head size)


class Decoder(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A causal language model, from tokens and a past to logits and the past with those tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        logit_positions: Tensor | None = None,
        past: Layers | None = None,
    ) -> dict[str, Any]:
        """Logits and present; see :mod:`edgekit.stages.generation_parts` for the shapes."""
        cache = DynamicCache(None if past is None else [(layer["key"], layer["value"]) for layer in past])
        name = cache_argument(self.model)
        named = {} if position_ids is None else {"position_ids": position_ids}
        with kept_positions(self.model.get_output_embeddings(), logit_positions):
            answer = self.model(
                input_ids=input_ids, attention_mask=attention_mask, use_cache=True, **{name: cache}, **named
            )
        return {"logits": answer.logits, "present": _layers(answer[name])}


@contextlib.contextmanager
def kept_positions(head: nn.Module, positions: Tensor | None) -> Iterator[None]:
    """Give the head only the states at some positions, (batch, kept), of each row.

    The models' own ``logits_to_keep`` does the same, but its form for positions by row fixes every size in a trace,
    and its form for one list of positions is fused into an operator that ONNX Runtime's CPU refuses.
    """
    if positions is None:
        yield
        return

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states, *rest = inputs
        rows = torch.arange(positions.shape[0], device=positions.device)[:, None]
        return (states[rows, positions], *rest)

    hook = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        hook.remove()


class Encoder(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The encoder of an encoder-decoder model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> dict[str, Any]:
        """The encoder's states, (batch, source, hidden)."""
        return {"encoder_hidden_states": self.model.get_encoder()(**inputs).last_hidden_state}


class CrossDecoder(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The decoder of an encoder-decoder model, from tokens, a past and what the encoder saw to logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past: Layers | None = None,
        cross: Layers | None = None,
    ) -> dict[str, Any]:
        """Logits and present, and where there is no past the cross-attention's keys and values too."""
        if past is None or cross is None:
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        else:
            cache = EncoderDecoderCache(
                DynamicCache([(layer["key"], layer["value"]) for layer in past]),
                DynamicCache([(layer["key"], layer["value"]) for layer in cross]),
            )
            cache.is_updated = dict.fromkeys(range(len(cross)), True)
            # Never read, for its keys and values are given: only its shape counts.
            encoder_hidden_states = input_ids.new_zeros(
                (input_ids.shape[0], cross[0]["key"].shape[2], self.model.config.hidden_size), dtype=torch.float32
            )
        name = cache_argument(self.model)
        named = {"attention_mask": encoder_attention_mask} if encoder_attention_mask is not None else {}
        answer = self.model(
            decoder_input_ids=input_ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoder_hidden_states),
            use_cache=True,
            **{name: cache},
            **named,
        )
        outputs = {"logits": answer.logits, "present": _layers(answer[name].self_attention_cache)}
        if cross is None:
            outputs["cross"] = _layers(answer[name].cross_attention_cache)
        return outputs


def _layers(cache: DynamicCache) -> list[dict[str, Tensor]]:
    return [{"key": layer.keys, "value": layer.values} for layer in cache.layers]
