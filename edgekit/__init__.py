"""edgekit: export a transformer once, prove it everywhere.

The device side is :mod:`edgekit.runtime` (numpy, onnxruntime, tokenizers);
the build side is :mod:`edgekit.pipeline` (the extra ``edgekit[export]``).
Importing this package imports neither.
"""

__version__ = "0.1.0"
