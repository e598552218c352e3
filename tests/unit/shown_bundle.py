"""A bundle as an export leaves it, evidence included; the graphs are arbitrary bytes."""

import dataclasses
import json
from pathlib import Path

from edgekit import catalog
from edgekit.bundle.writing import write_manifests
from edgekit.spec.manifest import Manifest
from edgekit.spec.parity import Check, Interval, judge

from .tiny_bundle import CONTENT, fill, tiny_manifest, tiny_variant


def shown_manifest() -> Manifest:
    variants = (
        dataclasses.replace(
            tiny_variant("int8-vnni", targets=("arm64-dotprod", "x86_64-avx512-vnni")), recipe="int8-dynamic+smooth"
        ),
        dataclasses.replace(
            tiny_variant("int8-reduced", targets=("arm64-neon", "x86_64-avx2")),
            recipe="int8-dynamic+smooth+reduced-range",
        ),
    )
    return dataclasses.replace(
        tiny_manifest(variants),
        name="minilm",
        targets=catalog.targets(),
        source=dataclasses.replace(tiny_manifest().source, name="sentence-transformers/all-MiniLM-L6-v2"),
    )


def shown_evidence() -> dict:
    checks = (
        Check("mean cosine", 0.997231, 0.99, passed=True, interval=Interval(0.997412, 0.997231, 0.997593, 800)),
        Check("nearest-neighbour agreement", 0.93, 0.9, passed=True, interval=Interval(0.95, 0.93, 0.963, 800)),
        Check("length deviation", 0.000001, 0.02, passed=True),
        Check("mean cosine, 128 tokens and more", 0.9961, 0.98, passed=True),
        Check("changed constants", 0, 0, passed=True),
        Check("worst cosine alone against in a batch", 0.999991, 0.98, passed=True),
    )
    variants = [
        {
            "name": variant.name,
            "recipe": variant.recipe,
            "precision": variant.precision,
            "size_bytes": 22_900_000,
            "changed": "36 of 36 products became int8",
            "parity": judge(checks, ()).to_json(),
            "targets": [{"name": name, "runs_here": name == "x86_64-avx2"} for name in variant.targets],
        }
        for variant in shown_manifest().variants
    ]
    return {
        "schema_version": "1.0",
        "task": "feature-extraction",
        "reference": {"library": "sentence-transformers", "architecture": "BertModel", "dtype": "float32"},
        "data": {"name": "builtin-en-1", "sha256": "ab" * 32, "judged": 800, "calibrated": 200},
        "judged_on": {
            "cpu": "Example CPU",
            "architecture": "x86_64",
            "features": ["avx2"],
            "system": "linux",
            "onnxruntime": "1.32.0",
        },
        "doubts": ["30 texts are fewer than 100"],
        "variants": variants,
        "tried": [
            {
                "recipe": "int8-dynamic",
                "targets": ["arm64-neon", "x86_64-avx2"],
                "verdict": "fail",
                "reason": "nearest-neighbour agreement 0.8483 against 0.9",
            }
        ],
    }


def write_shown_bundle(folder: Path, evidence: dict | None = None) -> Manifest:
    folder.mkdir()
    content = {path: data for path, data in CONTENT.items() if not path.startswith("model/")}
    for variant in shown_manifest().variants:
        content[variant.graph_path("model")] = b"graph"
    if evidence is not None:
        content["evidence/parity.json"] = json.dumps(evidence).encode()
    fill(folder, content)
    return write_manifests(folder, shown_manifest())
