"""Package: lay out a draft bundle around variants, and write what goes beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import edgekit
from edgekit.bundle.package import shared_asset_folder, variant_folder
from edgekit.bundle.writing import write_manifests
from edgekit.runtime.golden import write_golden
from edgekit.spec.manifest import EmbeddingSettings, Manifest, Tensor, TextSettings, Variant
from edgekit.spec.target import Target
from edgekit.stages import export
from edgekit.stages.evaluate import Answers, Vectors
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.recipes import Recipe
from edgekit.stages.reference import Reference

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
        reference: Its settings and tokenizer.
        answers: The reference's, to judge with.
        golden: Texts with the reference's vectors, for the self-test.
        inputs: Names of the graph's inputs.
        targets: All targets of the bundle.
    """

    checkpoint: Checkpoint
    reference: Reference
    answers: Answers
    golden: Sequence[tuple[str, Vectors]]
    inputs: Sequence[str]
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
    reference = contents.reference
    assets = shared_asset_folder({"tokenizer.json": reference.tokenizer_json})
    _write(folder / assets / "tokenizer.json", reference.tokenizer_json)
    _write(folder / GOLDEN, write_golden(contents.golden))
    return write_manifests(folder, _manifest(contents, tuple(variant for variant, _ in variants), assets))


def seal(
    contents: Contents, variants: Sequence[Variant], folder: Path, evidence: Mapping[str, Any], card: str
) -> Manifest:
    """Add evidence and model card to a draft and rewrite its manifests."""
    _write(folder / EVIDENCE, evidence_json(evidence))
    _write(folder / CARD, card.encode())
    assets = shared_asset_folder({"tokenizer.json": contents.reference.tokenizer_json})
    return write_manifests(folder, _manifest(contents, tuple(variants), assets))


def describe(
    recipe: Recipe, targets: Sequence[str], *, runs_anywhere: bool, parity: str, self_test_cosine: float
) -> Variant:
    """The manifest's record of a variant."""
    return Variant(
        name=recipe.variant_name,
        recipe=recipe.name,
        precision=recipe.precision,
        folder=variant_folder(recipe.variant_name),
        model_file=export.MODEL_FILE,
        targets=tuple(targets),
        runs_anywhere=runs_anywhere,
        session_options=recipe.session_options,
        opset=export.OPSET,
        parity=parity,
        self_test_cosine=self_test_cosine,
    )


def golden_cases(reference: Reference, answers: Answers) -> list[tuple[str, Vectors]]:
    """Texts from the shortest to the longest, evenly spread, with the reference's vectors.

    Asked again one by one, on one thread: a bundle's bytes may not depend on a machine's number of cores.
    """
    order = sorted(range(len(answers.texts)), key=lambda i: (answers.tokens[i], i))
    count = min(GOLDEN_CASES, len(order))
    chosen = [order[i * (len(order) - 1) // max(count - 1, 1)] for i in range(count)]
    return [(answers.texts[i], reference.embed_alone(answers.texts[i])) for i in chosen]


def evidence_json(evidence: Mapping[str, Any]) -> bytes:
    """Evidence as canonical JSON."""
    return (json.dumps(evidence, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _manifest(contents: Contents, variants: tuple[Variant, ...], assets: str) -> Manifest:
    reference = contents.reference
    return Manifest(
        name=contents.checkpoint.name,
        version="1.0.0",
        release=1,
        task=reference.task,
        source=contents.checkpoint.source,
        generator={"edgekit": edgekit.__version__, **{name: version(name) for name in _BUILT_WITH}},
        onnxruntime=ONNXRUNTIME,
        inputs=tuple(Tensor(name, "int64", ("batch", "sequence")) for name in contents.inputs),
        outputs=(Tensor(export.OUTPUT, "float32", ("batch", "sequence", reference.dimension)),),
        text=TextSettings(
            tokenizer=f"{assets}/tokenizer.json",
            max_length=reference.max_length,
            pad_id=reference.pad_id,
            pad_type_id=reference.pad_type_id,
        ),
        embedding=EmbeddingSettings(
            output=export.OUTPUT,
            pooling=reference.pooling,
            normalize=reference.normalize,
            dimension=reference.dimension,
        ),
        golden=GOLDEN,
        targets=contents.targets,
        variants=variants,
        files=(),
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
