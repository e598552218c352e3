"""llama.cpp through llama-cpp-python, on a GGUF file of the same shape with random Q4_0 weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protocol import Request, Worker, serve

CONTEXT = 1024


def build(request: Request) -> tuple[list[Path], list[str]]:
    """Weights drawn here: speed does not depend on their values."""
    import gguf
    import numpy as np
    from gguf.quants import quantize

    q4, config = gguf.GGMLQuantizationType.Q4_0, request["model"]["config"]
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kept, layers = (config[key] for key in ("num_attention_heads", "num_key_value_heads", "num_hidden_layers"))
    path = Path(request["folder"]) / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "qwen3")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kept)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e4)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{index}" for index in range(config["vocab_size"])])
    writer.add_token_types([1] * config["vocab_size"])
    writer.add_token_merges(["t 1"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    random = np.random.default_rng(0)

    def product(name: str, outputs: int, inputs: int) -> None:
        weights = random.standard_normal((outputs, inputs), dtype=np.float32) * 0.02
        writer.add_tensor(f"{name}.weight", quantize(weights, q4), raw_dtype=q4)

    def scale(name: str, size: int) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))

    product("token_embd", config["vocab_size"], hidden)
    scale("output_norm", hidden)
    for layer in range(layers):
        block = f"blk.{layer}."
        for name, size in (("attn_norm", hidden), ("ffn_norm", hidden), ("attn_q_norm", head), ("attn_k_norm", head)):
            scale(block + name, size)
        for name, outputs, inputs in (
            ("attn_q", heads * head, hidden),
            ("attn_k", kept * head, hidden),
            ("attn_v", kept * head, hidden),
            ("attn_output", hidden, heads * head),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ):
            product(block + name, outputs, inputs)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [path], []


def generator(request: Request) -> Any:
    """Greedy on its logits, as the others choose."""
    from llama_cpp import Llama

    threads = request["threads"]
    path = str(Path(request["folder"]) / "model.gguf")
    model = Llama(path, n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, n_batch=CONTEXT, verbose=False)

    def generate(prompt: Sequence[int], new: int) -> Iterator[Any]:
        model.reset()
        tokens = model.generate(list(prompt), temp=0.0, reset=True)
        for _, token in zip(range(new), tokens, strict=False):
            yield token

    return generate


if __name__ == "__main__":
    serve(Worker(build=build, generator=generator))
