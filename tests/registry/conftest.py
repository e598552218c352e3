"""A bundle, a registry on loopback that is told to misbehave, and nothing else of this user or the network."""

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.registry import blobs
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import push

# ruff: noqa: TID252 - tests are no installed package
from ..unit.tiny_bundle import CONTENT, write_tiny_bundle
from .faults import BILL, LARGE
from .stand_in_registry import serve


@pytest.fixture(autouse=True)
def nobody_else_is_asked(tmp_path, monkeypatch):
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "EDGEKIT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(blobs.time, "sleep", lambda _: None)
    monkeypatch.setattr(blobs, "PIECE_BYTES", 64 << 10)


@pytest.fixture
def root(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", {**CONTENT, "evidence/large": LARGE, "sbom.cdx.json": BILL})
    return tmp_path / "bundle"


@pytest.fixture
def registry():
    with serve() as running:
        yield running


@pytest.fixture
def place(registry):
    return Reference.parse(f"oci://{registry.host}/team/tiny:1")


@pytest.fixture
def pushed(root, place):
    return push(Bundle.open(root), place)
