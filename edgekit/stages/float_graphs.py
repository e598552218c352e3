"""Float graphs: what recipes start from, rewritten for each execution provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from edgekit.spec.provider import CPU
from edgekit.stages import component_files, decoder_passes, ladder, optimize


def optimized(
    graphs: Mapping[str, ir.Model], providers: Sequence[str], work: Path
) -> tuple[Mapping[str, int], Mapping[str, Path]]:
    """Rewrite the exported graphs, in place, and write them down.

    Args:
        graphs: By component.
        providers: Execution providers; the CPU's graphs hold operators that others have no kernels for.
        work: Where folders are made.

    Returns:
        How often each rewrite matched, and for each provider the folder of its graphs.
    """
    matched: Counter[str] = Counter()
    for graph in graphs.values():
        matched.update(optimize.optimize(graph))
        if ladder.DECODE in graphs:
            matched.update(decoder_passes.optimize_decoder(graph))
    folders = dict.fromkeys(providers, work / "float")
    if set(providers) != {CPU}:
        component_files.save(graphs, work / "float")
    if CPU in providers:
        for graph in graphs.values():
            matched.update(optimize.optimize_for_cpu(graph))
        folders[CPU] = work / "float-cpu"
        component_files.save(graphs, folders[CPU])
    return matched, folders
