"""Judge here a variant for an execution provider that this machine lacks, as far as that goes, and say how far.

ONNX Runtime's CPU provider runs such a file, but computes a float16 graph in float32 and drops the casts between: a
value that is infinity on the device goes through here unseen. So the judged graph is the shipped one with every float16
value really rounded. What passes so is ``unproven``: kernels, sums and fusions of the device were not seen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx_ir as ir

from edgekit.spec.manifest import Variant
from edgekit.spec.parity import Parity
from edgekit.spec.provider import CPU
from edgekit.stages import component_files

_KEEP_IDENTITIES: Final = {"optimization.disable_specified_optimizers": "EliminateIdentity;SkipLayerNormFusion"}


def stand_in(variant: Variant, files: Path, folder: Path) -> tuple[Variant, Path]:
    """The variant as it is judged on the CPU.

    Args:
        variant: For another provider.
        files: Its files.
        folder: Where to write the graphs that round, where there is any float16.

    Returns:
        The variant and the folder of its files; both unchanged where they hold no float16.
    """
    models = component_files.load(files)
    if not sum(round_halves(model) for model in models.values()):
        return variant, files
    component_files.save(models, folder)
    return replace(variant, session_options=_KEEP_IDENTITIES), folder


def round_halves(model: ir.Model) -> int:
    """Make ONNX Runtime's CPU provider round every float16 value that a node gives, in place.

    Between two nodes that it computes in float32 it leaves out the rounding, and it moves a single float16 node
    between them to float32 as well; two in a row stay, and need no kernel of their own.

    Returns:
        The number of values.
    """
    outputs = set(model.graph.outputs)
    count = 0
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype != ir.DataType.FLOAT16 or value in outputs:
                continue
            first = ir.node("Identity", [value], name=f"{value.name}.round")
            second = ir.node("Identity", [first.outputs[0]], name=f"{value.name}.rounded")
            for identity in (first, second):
                identity.outputs[0].name = identity.name
                identity.outputs[0].type, identity.outputs[0].shape = value.type, value.shape
            ir.convenience.replace_all_uses_with(value, second.outputs[0])
            first.replace_input_with(0, value)
            model.graph.insert_after(node, [first, second])
            count += 1
    return count


def unproven(parity: Parity, provider: str) -> Parity:
    """The verdict on a variant that ran elsewhere than it will: a fault is one anywhere, a pass proves nothing yet."""
    if parity.verdict == "fail":
        return parity
    doubt = f"{provider} is not on this machine: answers were compared on {CPU}"
    reason = doubt if parity.verdict == "pass" else f"{parity.reason}; {doubt}"
    return replace(parity, verdict="unproven", reason=reason)
