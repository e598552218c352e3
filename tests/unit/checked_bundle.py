"""Tiny bundles that open and answer, with evidence: what ``edgekit check`` compares."""

import json
from pathlib import Path

from edgekit.spec.parity import Check, Interval, judge

from .tiny_model import plain_variant, write_tiny_model

COSINE = Check("mean cosine", 0.9972, 0.99, passed=True, interval=Interval(0.9974, 0.9972, 0.9976, 800))
NORMS = Check("length deviation", 0.001, 0.02, passed=True)


def evidence(variants=(plain_variant(),), checks=(COSINE, NORMS), doubts=(), data="ab" * 32):
    return {
        "schema_version": "1.0",
        "data": {"name": "builtin-en-1", "sha256": data, "judged": 800},
        "doubts": list(doubts),
        "variants": [
            {
                "name": variant.name,
                "recipe": variant.recipe,
                "precision": variant.precision,
                "size_bytes": 1,
                "parity": judge(checks, doubts).to_json(),
                "targets": [{"name": name, "runs_here": True} for name in variant.targets],
            }
            for variant in variants
        ],
    }


def write_checked_bundle(folder: Path, *, files=None, document=None, **changes) -> Path:
    """A tiny bundle; ``document`` is its evidence, False for none, ``changes`` are fields of its manifest."""
    content = dict(files or {})
    if document is not False:
        document = document or evidence(changes.get("variants", (plain_variant(),)))
        content["evidence/parity.json"] = json.dumps(document).encode()
    return write_tiny_model(folder, files=content, **changes)
