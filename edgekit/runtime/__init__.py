"""The device side: open a bundle and get answers, with numpy, onnxruntime and tokenizers alone.

Example:
    >>> from edgekit.runtime import load
    >>> model = load("minilm-bundle")
    >>> model.embed(["A sentence.", "Another one."]).shape
    (2, 384)
"""

from edgekit.runtime.embedding import Embedder, SelfTest
from edgekit.runtime.host import Host, detect_host
from edgekit.runtime.loading import load

__all__ = ["Embedder", "Host", "SelfTest", "detect_host", "load"]
