"""How batches change the answers of dynamic int8 (docs/decisions/0005): agreement with the original, three ways.

    .venv/bin/python benchmarks/batching.py bundles/minilm

Needs the build side installed. Prints mean cosine and nearest-neighbour agreement over the judged texts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgekit.bundle.reading import Bundle
from edgekit.runtime.embedding import Embedder
from edgekit.runtime.loading import open_variant
from edgekit.runtime.pooling import normalize, pool
from edgekit.runtime.session import open_session
from edgekit.runtime.text import TextEncoder
from edgekit.spec.settings.embedding import EmbeddingSettings
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import data, fetch, reference
from edgekit.stages.vectors import Vectors, neighbours

BATCH = 32


def main(folder: str) -> None:
    """Compare the three ways on a bundle of the model `minilm`."""
    texts = [row["text"] for row in data.builtin_texts().judged]
    loaded = reference.load_reference(fetch.fetch("minilm"), "feature-extraction", Path())
    original = np.stack([answer["embedding"] for answer in loaded.raw([{"text": text} for text in texts])])
    bundle = Bundle.open(folder)
    variant = bundle.manifest.variants[0]
    with open_variant(bundle, variant) as model:
        if not isinstance(model, Embedder):
            sys.exit(f"{folder}: is a bundle for {bundle.manifest.task}; this measures one that embeds")
        ways = {
            "one text at a time": model.embed(texts, batch_size=1),
            f"batches of equal length, up to {BATCH}": model.embed(texts, batch_size=BATCH),
            f"padded to similar lengths, {BATCH}": _padded(bundle, texts),
        }
    print(f"{variant.name}, {len(texts)} texts")
    for name, vectors in ways.items():
        cosine = float((vectors * original).sum(axis=1).mean())
        agreement = float((neighbours(vectors) == neighbours(original)).mean())
        print(f"  {name:36} mean cosine {cosine:.4f}  agreement {agreement:.4f}")


def _padded(bundle: Bundle, texts: Sequence[str]) -> Vectors:
    settings, text = bundle.manifest.section(EmbeddingSettings), bundle.manifest.section(TextSettings)
    encoder = TextEncoder(bundle.read(text.tokenizer), text)
    ids = encoder.encode(texts)
    vectors = np.empty((len(ids), settings.dimension), np.float32)
    with open_session(bundle, bundle.manifest.variants[0], threads=2) as session:
        for rows in _similar(ids):
            feeds = encoder.batch([ids[row] for row in rows], session.inputs)
            states = session.run(feeds)[settings.output]
            vectors[rows] = normalize(pool(states, feeds["attention_mask"], settings.pooling))
    return vectors


def _similar(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


if __name__ == "__main__":
    main(sys.argv[1])
