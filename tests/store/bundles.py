"""Bundles of a kilobyte, one for each release, contents arbitrary; without torch, numpy or onnxruntime."""

import dataclasses
from pathlib import Path

from edgekit.bundle.writing import write_manifests

from ..unit.tiny_bundle import CONTENT, fill, tiny_manifest  # noqa: TID252 - tests are no installed package

RELEASES = (1, 2, 3)


def write_release(folder: Path, release: int, name: str = "tiny") -> Path:
    """A bundle whose graph differs from release to release."""
    folder.mkdir(parents=True)
    fill(folder, CONTENT | {"model/int8/model.onnx": f"{name} graph of release {release}".encode()})
    write_manifests(folder, dataclasses.replace(tiny_manifest(), name=name, version=f"1.{release}", release=release))
    return folder


def write_releases(root: Path) -> dict[int, Path]:
    return {release: write_release(root / f"release-{release}", release) for release in RELEASES}
