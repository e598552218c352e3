"""Run a bundle elsewhere: native, under emulators, in WebAssembly and WebGPU, on other versions of ONNX Runtime.

:func:`prove` runs it in each environment asked for and gives a :class:`Report`. Before a bundle is judged in an
environment the environment itself is: a known-good probe for each class of kernels that the bundle uses.
"""

from edgekit.portability.proving import prove
from edgekit.portability.report import Limit, Outcome, Probe, Proof, Report

__all__ = ["Limit", "Outcome", "Probe", "Proof", "Report", "prove"]
