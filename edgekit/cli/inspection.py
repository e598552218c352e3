"""``edgekit inspect``: what a bundle is and what was proved of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.screen import DebugFlag, JsonFlag, Screen

if TYPE_CHECKING:
    from edgekit.spec.manifest import Manifest

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The bundle: its folder, or a packed file.", show_default=False)
]


def inspect(
    context: typer.Context, bundle: BundleArgument, *, as_json: JsonFlag = False, debug: DebugFlag = False
) -> None:
    """Show what a bundle is, what was proved of it, and what was tried and left."""
    from edgekit.bundle.reading import Bundle
    from edgekit.runtime.session import this_host

    screen = Screen.of(context, as_json=as_json, debug=debug)
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    reports = {
        entry.path: bytes(opened.read(entry.path))
        for entry in manifest.files
        if entry.path.startswith("evidence/") and entry.path.endswith(".json")
    }
    if screen.json:
        screen.result(_document(opened.root, manifest, reports))
        return
    from edgekit.cli import render_bundle
    from edgekit.cli.evidence import PARITY_EVIDENCE, read_evidence
    from edgekit.spec.reader import parse_json

    host = this_host()
    here = [
        name
        for name, made in manifest.targets.items()
        if not made.missing_on(host.architecture, host.cpu_features, host.providers)
    ]
    report = reports.get(PARITY_EVIDENCE)
    evidence = read_evidence(parse_json(report, PARITY_EVIDENCE)) if report is not None else None
    screen.show("", *render_bundle.header(manifest, bundle, evidence))
    screen.show(*render_bundle.variants(manifest), *render_bundle.targets(manifest, evidence, here))
    if evidence:
        screen.show(*render_bundle.parity(evidence), *render_bundle.tried(manifest, evidence.tried))
        if evidence.search:
            screen.show(*render_bundle.search(evidence.search))
    screen.show("")


def _document(root: Path, manifest: Manifest, reports: dict[str, bytes]) -> dict[str, Any]:
    from edgekit.spec.reader import parse_json

    evidence = {}
    for path, data in reports.items():
        parse_json(data, path)  # refuses what json.loads would let pass
        evidence[Path(path).stem] = json.loads(data)
    return {"bundle": str(root), "manifest": json.loads(manifest.to_json()), "evidence": evidence}
