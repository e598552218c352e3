"""Tiny random generating models, one for each form of cache, mask and position that edgekit exports."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.stages.quiet import quiet

VOCABULARY = 320
NEW_TOKENS = 128

_SIZES = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
_ROTARY = {**_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
_PAIR = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
}
_SPEECH = {**_PAIR, "num_mel_bins": 16, "max_source_positions": 50, "max_target_positions": 256}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**_ROTARY, "num_hidden_layers": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
    "gpt2": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "qwen3": {**_ROTARY, "head_dim": 16, "tie_word_embeddings": True},
    "gemma3_text": {
        **_ROTARY,
        "head_dim": 16,
        "sliding_window": 12,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "t5": {
        "vocab_size": VOCABULARY,
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 96,
        "num_layers": 2,
        "num_heads": 4,
    },
    "bart": {**_PAIR, "max_position_embeddings": 512},
    "whisper": _SPEECH,
}
_START = 3

# Wide weights make a text depend on all before it; a wide embedding, tied to the head, would only repeat its token.
_SPREAD = {
    "embed_positions": 0.3,
    "wpe.": 0.3,
    "relative_attention_bias": 3.0,
    "embed_tokens.": 0.01,
    "wte.": 0.01,
    "shared.": 0.01,
}
_FIXED = "model.encoder.embed_positions.weight"  # Whisper's are sines


def tiny_model(kind: str) -> Any:
    """A model whose greedy text depends on all that came before, not on its last token alone."""
    with quiet():
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq

        ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        config = AutoConfig.for_model(kind, **CONFIGS[kind], **ids)
        if config.is_encoder_decoder:
            config.decoder_start_token_id = _START
            config.forced_eos_token_id = None
        make = {"whisper": AutoModelForSpeechSeq2Seq, "t5": AutoModelForSeq2SeqLM, "bart": AutoModelForSeq2SeqLM}
        torch.manual_seed(0)
        model = make.get(kind, AutoModelForCausalLM).from_config(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and not (kind == "whisper" and name == _FIXED):
                    parameter.normal_(0, next((size for part, size in _SPREAD.items() if part in name), 0.35))
                elif name.endswith("bias"):
                    parameter.zero_()  # behind the last norm it would make one token win everywhere
                elif parameter.ndim == 1:
                    parameter.add_(0.5 * torch.randn_like(parameter))
        model.tie_weights()
    for name in ("suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id", "forced_bos_token_id"):
        setattr(model.generation_config, name, None)
    return model.eval()


def asked(model: Any, batch: int) -> dict[str, npt.NDArray[Any]]:
    """Inputs of ``generate`` with texts of different lengths, padded on the side the model wants."""
    random = np.random.default_rng(batch)
    if model.main_input_name == "input_features":
        features = random.standard_normal((batch, model.config.num_mel_bins, 2 * model.config.max_source_positions))
        return {"input_features": features.astype(np.float32)}
    lengths = np.array([9, 4, 1])[:batch]
    places = np.arange(9)
    mask = places < lengths[:, None] if model.config.is_encoder_decoder else places >= 9 - lengths[:, None]
    ids = np.where(mask, random.integers(4, VOCABULARY, mask.shape), 0)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def greedy(model: Any, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """What ``transformers.generate`` answers, (batch, NEW_TOKENS), never stopping."""
    with quiet():
        import torch
        from transformers import GenerationMixin

        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        # Not Whisper's own generate, which adds language and time stamps around it.
        ids = GenerationMixin.generate(
            model, **tensors, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None
        )
    return np.asarray(ids[:, -NEW_TOKENS:])


class Loop:
    """The shortest loop over exported components, in plain onnxruntime."""

    def __init__(self, folder: Any) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._sessions = {path.stem: ort.InferenceSession(path, options) for path in folder.glob("*.onnx")}

    def run(self, component: str, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """A component's outputs; feeds it does not take are left out, and every number must be finite."""
        session = self._sessions[component]
        taken = {value.name: feeds[value.name] for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        answer = dict(zip(names, session.run(names, taken), strict=True))
        assert all(np.isfinite(array).all() for array in answer.values())
        return answer

    def greedy(self, inputs: dict[str, npt.NDArray[Any]], steps: int) -> npt.NDArray[np.int64]:
        """The likeliest token, ``steps`` times, (batch, steps)."""
        kept: dict[str, npt.NDArray[Any]] = {}
        if "encoder" in self._sessions:
            states = self.run("encoder", inputs)["encoder_hidden_states"]
            kept = {"encoder_attention_mask": inputs.get("attention_mask", np.ones(states.shape[:2], np.int64))}
            ids = np.full((len(states), 1), _START)
            answer = self.run("prefill", {**kept, "input_ids": ids, "encoder_hidden_states": states})
            kept |= {name: array for name, array in answer.items() if name.startswith("cross")}
            mask = np.ones_like(ids)
        else:
            mask = inputs["attention_mask"]
            last = np.full((len(mask), 1), mask.shape[1] - 1)
            positions = np.maximum(mask.cumsum(axis=1) - 1, 0)
            answer = self.run("prefill", {**inputs, "position_ids": positions, "logit_positions": last})
        tokens = []
        for _ in range(steps):
            tokens.append(answer["logits"][:, -1].argmax(axis=-1)[:, None])
            mask = np.concatenate([mask, np.ones_like(tokens[-1])], axis=1)
            past = {f"past{name[7:]}": array for name, array in answer.items() if name.startswith("present")}
            places = {"attention_mask": mask, "position_ids": mask.sum(axis=1, keepdims=True) - 1}
            answer = self.run("decode", {**kept, **past, **places, "input_ids": tokens[-1]})
        return np.concatenate(tokens, axis=1)
