"""What edgekit's decoding loop costs beside ONNX Runtime itself, and how memory grows while it decodes.

    .venv/bin/python benchmarks/decode_overhead.py [--keep FOLDER] [--tokens 256] [--rounds 6] [--threads 2]

Exports a random Llama-like model (110 million parameters by default) into FOLDER, or takes the one that is there.
Rounds of edgekit's loop and of the bare graph alternate, over the same lengths and with the same session; the bare one
counts nothing but ``run_with_iobinding``. Medians over all steps. Exporting needs the build side installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from host_facts import collect, describe

from edgekit.runtime.binding import Buffer
from edgekit.runtime.decoding import Decoder
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.session import Session
from edgekit.spec.manifest import Tensor

VOCABULARY = 32000
PROMPT = 64
SETTLED = 32  # steps before memory is looked at
TYPES = {"float": "float32"}


def main() -> None:
    """Measure and print, as text and as a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        if not (folder / "decode.onnx").exists():
            _export(folder, arguments.hidden, arguments.layers)
        prefill, decode = (_open(folder / f"{name}.onnx", arguments.threads) for name in ("prefill", "decode"))
        print(describe(collect()))
        print(json.dumps(_measure(prefill, decode, arguments)))


def _measure(prefill: Session, decode: Session, arguments: argparse.Namespace) -> dict[str, Any]:
    decoder = Decoder(prefill, decode, pad_id=0, max_positions=0)
    loop: list[float] = []
    bare: list[float] = []
    _loop(decoder, arguments.tokens)  # warm-up
    for _ in range(arguments.rounds):
        loop += _loop(decoder, arguments.tokens)
        bare += _bare(decode, arguments.tokens)
    ours, theirs = statistics.median(loop), statistics.median(bare)
    cache = sum(int(np.prod([size for size in t.shape[1:] if isinstance(size, int)])) * 4 for t in _past(decode))
    grown = _growth(decoder, arguments.tokens * 2)
    print(f"a token: {ours * 1e3:.3f} ms in the loop, {theirs * 1e3:.3f} ms bare, overhead {ours / theirs - 1:.2%}")
    print(f"resident memory: {grown:.0f} bytes a token; the cache itself is {cache}")
    return {
        "loop_ms": round(ours * 1e3, 4),
        "bare_ms": round(theirs * 1e3, 4),
        "overhead_percent": round((ours / theirs - 1) * 100, 3),
        "rss_bytes_per_token": round(grown),
        "cache_bytes_per_token": cache,
    }


def _loop(decoder: Decoder, tokens: int) -> list[float]:
    """Seconds of each step of edgekit's loop, the prefill left out."""
    steps = decoder.steps([_prompt()], GenerationOptions(max_new_tokens=tokens))
    next(steps)
    times = []
    for _ in range(tokens - 1):
        began = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - began)
    return times


def _bare(decode: Session, tokens: int) -> list[float]:
    """Seconds of each bare run over the same lengths."""
    graph = decode.binding()
    ids, places = Buffer("int64", 1), Buffer("int64", 1)
    mask, logits = Buffer("int64", PROMPT + tokens), Buffer("float32", VOCABULARY)
    for buffer in (ids, places, mask):
        buffer.array[:] = 1
    in_place = all(tensor.shape[2] == "capacity" for tensor in _past(decode))
    front = {t.name: _zeros(t, PROMPT + tokens) for t in _past(decode)}
    back = front if in_place else {t.name: _zeros(t, PROMPT + tokens) for t in _past(decode)}
    graph.input("input_ids", ids, (1, 1))
    graph.input("position_ids", places, (1, 1))
    graph.output("logits", logits, (1, 1, VOCABULARY))
    times = []
    for total in range(PROMPT + 1, PROMPT + tokens):
        graph.input("attention_mask", mask, (1, total))
        places.array[:] = total - 1
        for tensor in _past(decode):
            past, present = (PROMPT + tokens, PROMPT + tokens) if in_place else (total - 1, total)
            graph.input(tensor.name, front[tensor.name], _shape(tensor, past))
            graph.output(f"present.{tensor.name.removeprefix('past.')}", back[tensor.name], _shape(tensor, present))
        began = time.perf_counter()
        graph.run()
        times.append(time.perf_counter() - began)
        front, back = back, front
    return times


def _growth(decoder: Decoder, tokens: int) -> float:
    """Bytes of resident memory that a further token adds."""
    steps = decoder.steps([_prompt()], GenerationOptions(max_new_tokens=tokens))
    for _ in range(SETTLED):
        next(steps)
    before = _resident()
    for _ in range(tokens - SETTLED):
        next(steps)
    return (_resident() - before) / (tokens - SETTLED)


def _resident() -> int:
    """Bytes; of this process, on Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def _past(decode: Session) -> list[Tensor]:
    return [tensor for tensor in decode.inputs if tensor.name.startswith("past.")]


def _shape(tensor: Tensor, length: int) -> tuple[int, ...]:
    return (1, *(length if isinstance(size, str) else size for size in tensor.shape[1:]))


def _zeros(tensor: Tensor, length: int) -> Buffer:
    buffer = Buffer(tensor.dtype, int(np.prod(_shape(tensor, length))))
    buffer.array[:] = 0
    return buffer


def _prompt() -> list[int]:
    return [int(token) for token in np.random.default_rng(0).integers(10, 1000, PROMPT)]


def _open(path: Path, threads: int) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # as the runtime opens a decode graph
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Session(session, _tensors(session.get_inputs()), _tensors(session.get_outputs()), [])


def _tensors(nodes: list[Any]) -> tuple[Tensor, ...]:
    kinds = (node.type.removeprefix("tensor(").removesuffix(")") for node in nodes)
    return tuple(
        Tensor(node.name, TYPES.get(kind, kind), tuple(node.shape)) for node, kind in zip(nodes, kinds, strict=True)
    )


def _export(folder: Path, hidden: int, layers: int) -> None:
    from edgekit.stages import component_files, export
    from edgekit.stages.generation_parts import generation_parts
    from edgekit.stages.quiet import quiet

    with quiet():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config).eval()
    graphs = {name: export.export(part) for name, part in generation_parts(model).items()}
    component_files.save(graphs, folder)
    print(f"{sum(weights.numel() for weights in model.parameters()) / 1e6:.0f} million parameters")


if __name__ == "__main__":
    main()
