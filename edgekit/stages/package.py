"""Package: lay out a draft bundle around variants, and write what goes beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

import edgekit
from edgekit.bundle.package import shared_asset_folder, variant_folder
from edgekit.bundle.writing import write_manifests
from edgekit.errors import ExportError
from edgekit.runtime.answers import WORST
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Component, Manifest, Tensor, Variant
from edgekit.spec.provider import CPU, PROVIDERS
from edgekit.spec.target import Target
from edgekit.stages import component_files, export
from edgekit.stages.evaluate import Answers
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.ladder import Recipe
from edgekit.stages.reference import Reference
from edgekit.stages.sbom import SBOM, bill_of_materials

GOLDEN: Final = "golden/cases.json"
EVIDENCE: Final = "evidence/parity.json"
CARD: Final = "MODEL_CARD.md"
ONNXRUNTIME: Final = ">=1.24,<2"  # opset 20 and MatMulNBits 8-bit; external data is confined to the folder since 1.24
GOLDEN_CASES: Final = 8
_BUILT_WITH: Final = ("torch", "transformers", "sentence-transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Contents:
    """What every draft of one build shares.

    Attributes:
        checkpoint: Where the model came from.
        reference: Its settings and assets.
        answers: The reference's, to judge with.
        golden: Inputs with the reference's answers, for the self-test.
        components: What each graph takes and gives.
        targets: All targets of the bundle.
    """

    checkpoint: Checkpoint
    reference: Reference
    answers: Answers
    golden: Sequence[Golden]
    components: Mapping[str, Component]
    targets: Mapping[str, Target]


def draft(contents: Contents, variants: Sequence[tuple[Variant, Path]], folder: Path) -> Manifest:
    """Write a draft bundle that the runtime can open.

    Args:
        contents: What does not depend on the variants.
        variants: In order of preference, each with the folder its files are copied from.
        folder: Where to write; made if need be.
    """
    for variant, files in variants:
        (folder / variant.folder).mkdir(parents=True, exist_ok=True)
        for file in files.iterdir():  # copytree would wrap a full disk's error, without its number
            shutil.copyfile(file, folder / variant.folder / file.name)
    assets = contents.reference.assets()
    for name, data in assets.items():
        _write(folder / shared_asset_folder(assets) / name, data)
    _write(folder / GOLDEN, write_golden(contents.reference.task, contents.golden))
    return write_manifests(folder, _manifest(contents, tuple(variant for variant, _ in variants)))


def seal(
    contents: Contents, variants: Sequence[Variant], folder: Path, evidence: Mapping[str, Any], card: str
) -> Manifest:
    """Add evidence, model card and bill of materials to a draft and rewrite its manifests."""
    _write(folder / EVIDENCE, evidence_json(evidence))
    _write(folder / CARD, card.encode())
    manifest = _manifest(contents, tuple(variants))
    _write(folder / SBOM, bill_of_materials(write_manifests(folder, manifest), evidence))
    return write_manifests(folder, manifest)


def describe(
    recipe: Recipe, targets: Sequence[str], components: Mapping[str, Component], provider: str = CPU
) -> Variant:
    """The manifest's record of a variant that nothing is known of yet; its name ends with its provider, if no CPU's."""
    name = "-".join(filter(None, (recipe.variant_name, PROVIDERS[provider].short)))
    return Variant(
        name=name,
        recipe=recipe.name,
        precision=recipe.precision,
        folder=variant_folder(name),
        graphs={component: component_files.graph_file(component) for component in components},
        targets=tuple(targets),
        runs_anywhere=False,
        session_options=recipe.session_options,
        opset=export.OPSET,
        parity="unproven",
        self_test_min=WORST,
    )


def component(model: ir.Model) -> Component:
    """What a graph takes and gives.

    Raises:
        ExportError: An input or output has no type or shape.
    """
    return Component(
        inputs=tuple(_tensor(value) for value in model.graph.inputs),
        outputs=tuple(_tensor(value) for value in model.graph.outputs),
    )


def golden_cases(reference: Reference, answers: Answers) -> list[Golden]:
    """Inputs from the smallest to the largest, evenly spread, with the reference's answers.

    Asked again one by one, on one thread: a bundle's bytes may not depend on a machine's number of cores.
    """
    import torch

    order = sorted(range(len(answers.cases)), key=lambda place: (answers.cases[place].size, place))
    count = min(GOLDEN_CASES, len(order))
    chosen = [answers.inputs[order[place * (len(order) - 1) // max(count - 1, 1)]] for place in range(count)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [Golden(asked, reference.raw([asked])[0]) for asked in map(reference.golden, chosen)]
    finally:
        torch.set_num_threads(threads)


def evidence_json(evidence: Mapping[str, Any]) -> bytes:
    """Evidence as canonical JSON."""
    return (json.dumps(evidence, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _manifest(contents: Contents, variants: tuple[Variant, ...]) -> Manifest:
    reference = contents.reference
    sections = reference.sections(shared_asset_folder(reference.assets()))
    return Manifest(
        name=contents.checkpoint.name,
        version="1.0.0",
        release=1,
        task=reference.task,
        source=contents.checkpoint.source,
        generator={"edgekit": edgekit.__version__, **{name: version(name) for name in _BUILT_WITH}},
        onnxruntime=ONNXRUNTIME,
        components=contents.components,
        settings={section.key: section for section in sections},
        golden=GOLDEN,
        targets=contents.targets,
        variants=variants,
        files=(),
    )


def _tensor(value: ir.Value) -> Tensor:
    if value.name is None or value.dtype is None or value.shape is None:
        raise ExportError(f"the graph's {value.name} has no type or shape")
    shape = tuple(
        dimension if isinstance(dimension, int) else str(dimension.value or f"{value.name}_{axis}")
        for axis, dimension in enumerate(value.shape)
    )
    return Tensor(value.name, value.dtype.numpy().name, shape)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
