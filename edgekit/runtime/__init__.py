"""The device side: open a bundle and get answers, with numpy, onnxruntime and tokenizers alone.

Example:
    >>> from edgekit.runtime import load
    >>> model = load("minilm-bundle")
    >>> model.embed(["A sentence.", "Another one."]).shape
    (2, 384)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.runtime.classification import TextClassifier
    from edgekit.runtime.embedding import Embedder
    from edgekit.runtime.generation import Generator
    from edgekit.runtime.host import Host, detect_host
    from edgekit.runtime.loading import load, pipeline
    from edgekit.runtime.model import Model, SelfTest
    from edgekit.runtime.seq2seq import Seq2Seq

__all__ = [
    "Embedder",
    "Generator",
    "Host",
    "Model",
    "SelfTest",
    "Seq2Seq",
    "TextClassifier",
    "detect_host",
    "load",
    "pipeline",
]

_HOMES = {
    "Embedder": "embedding",
    "Generator": "generation",
    "Host": "host",
    "Model": "model",
    "SelfTest": "model",
    "Seq2Seq": "seq2seq",
    "TextClassifier": "classification",
    "detect_host": "host",
    "load": "loading",
    "pipeline": "loading",
}


def __getattr__(name: str) -> Any:
    # Whoever only asks for host facts does not pay for numpy.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
