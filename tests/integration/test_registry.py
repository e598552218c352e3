"""A real registry on loopback takes a bundle and gives it back, and another client reads what was pushed."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.bundle.folder import list_files
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signing import attach, sign
from edgekit.bundle.trust import Trust, public_key
from edgekit.registry.artifact import FILE_PATH
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import pull, push
from edgekit.runtime import load

from ..unit.test_signing import public_pem  # noqa: TID252 - tests are no installed package
from ..unit.tiny_model import write_tiny_model  # noqa: TID252

pytestmark = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="needs docker-registry (Debian: apt-get install docker-registry)"
)


@contextmanager
def running_registry(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {json.dumps(str(folder / 'data'))}}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n'
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "registry.log").read_text()
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "registry").mkdir()
    with running_registry(tmp_path / "registry") as host:
        yield host


@pytest.fixture
def root(tmp_path):
    # More than one piece of an upload, so that a real registry sees several.
    content = {"evidence/large": bytes(range(256)) * (150 << 10), "sbom.cdx.json": b'{"bomFormat": "CycloneDX"}'}
    return write_tiny_model(tmp_path / "bundle", files=content)


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def test_a_registry_takes_a_signed_bundle_and_gives_it_back(root, registry, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    attach(Bundle.open(root), sign(Bundle.open(root), key))
    place = Reference.parse(f"oci://{registry}/team/tiny:1")
    pushed = push(Bundle.open(root), place)
    assert push(Bundle.open(root), place).digest == pushed.digest
    policy = Trust([public_key(public_pem(key), "key.pub")], asked=True)
    _, standing = pull(place, tmp_path / "got", policy=policy)
    assert standing.state == "signed"
    assert files_of(tmp_path / "got") == files_of(root)
    with load(tmp_path / "got") as model:
        assert model.self_test().passed


def test_plain_http_reads_it_as_the_specification_says(root, registry):
    pushed = push(Bundle.open(root), Reference.parse(f"oci://{registry}/team/tiny:1"))
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    base = f"http://{registry}/v2/team/tiny"
    request = urllib.request.Request(f"{base}/manifests/1", headers=accept)  # noqa: S310 - on loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.headers["Docker-Content-Digest"] == pushed.digest
        manifest = json.load(answer)
    read = {}
    for layer in manifest["layers"]:
        with urllib.request.urlopen(f"{base}/blobs/{layer['digest']}", timeout=10) as answer:  # noqa: S310
            read[layer["annotations"][FILE_PATH]] = answer.read()
    assert read == files_of(root)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo (Debian: apt-get install skopeo)")
def test_skopeo_copies_it(root, registry, tmp_path):
    push(Bundle.open(root), Reference.parse(f"oci://{registry}/team/tiny:1"))
    target = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", f"docker://{registry}/team/tiny:1", f"dir:{target}"],
        check=True,
        capture_output=True,
    )
    manifest = json.loads((target / "manifest.json").read_bytes())
    copied = {
        layer["annotations"][FILE_PATH]: (target / layer["digest"].removeprefix("sha256:")).read_bytes()
        for layer in manifest["layers"]
    }
    assert copied == files_of(root)
