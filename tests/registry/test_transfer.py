"""What is pushed comes back byte for byte, with its signature and its bill of materials."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.bundle.folder import list_files
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signing import attach, sign
from edgekit.bundle.trust import Trust, public_key
from edgekit.cli import main
from edgekit.errors import IntegrityError, OutputError, UsageError
from edgekit.registry.artifact import FILE_PATH, MODEL, Blob
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import pull, push

# ruff: noqa: TID252 - tests are no installed package
from ..unit.test_signing import public_pem
from ..unit.tiny_bundle import CONTENT, write_tiny_bundle
from .faults import BILL, LARGE, LARGE_DIGEST, files_of
from .stand_in_registry import serve


def test_what_was_pushed_is_pulled_byte_for_byte(root, registry, place, pushed, tmp_path):
    steps = []
    bundle, standing = pull(place, tmp_path / "got", progress=lambda *step: steps.append(step))
    bundle.verify()
    assert files_of(tmp_path / "got") == files_of(root)
    assert standing.state == "unchecked"
    assert steps[-1] == (pushed.size_bytes, pushed.size_bytes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "got"]
    by_digest = Reference.parse(f"oci://{registry.host}/team/tiny@{pushed.digest}")
    pull(by_digest, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(root)


def test_the_artifact_is_what_modelpack_says(registry, root, pushed):
    manifest = json.loads(registry.manifests[pushed.digest])
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == MODEL == "application/vnd.cncf.model.manifest.v1+json"
    kinds = {layer["annotations"][FILE_PATH]: layer["mediaType"] for layer in manifest["layers"]}
    assert next(iter(kinds)) == "edgekit.json"
    assert set(kinds) == set(list_files(root))
    assert kinds["model/int8/model.onnx"] == "application/vnd.cncf.model.weight.v1.raw"
    assert kinds["sbom.cdx.json"] == "application/vnd.cncf.model.doc.v1.raw"
    assert kinds["edgekit.json"] == "application/vnd.cncf.model.weight.config.v1.raw"
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in manifest["layers"]]}
    assert config["config"]["format"] == "onnx"
    for layer in manifest["layers"]:
        data = (root / layer["annotations"][FILE_PATH]).read_bytes()
        assert registry.blobs[layer["digest"]] == data
        assert layer["size"] == len(data)


def test_the_same_bundle_has_the_same_digest_and_is_not_sent_again(registry, root, place, pushed):
    patches = len(registry.asked("PATCH"))
    assert push(Bundle.open(root), place).digest == pushed.digest
    assert len(registry.asked("PATCH")) == patches


@pytest.mark.parametrize("keeps_referrers", [True, False])
def test_signature_and_bill_travel_as_referrers(root, tmp_path, keeps_referrers):
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    policy = Trust([public_key(public_pem(key), "key.pub")], asked=True)
    with serve(keeps_referrers=keeps_referrers) as registry:
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        made = push(Bundle.open(root), place)
        assert set(made.referrers) == {"application/vnd.cyclonedx+json"}
        with pytest.raises(IntegrityError, match=r"has no model\.sig"):
            pull(place, tmp_path / "unsigned", policy=policy)
        unsigned = Bundle.open(root)
        attach(unsigned, sign(unsigned, other))
        push(Bundle.open(root), place)
        with pytest.raises(IntegrityError, match="not trusted"):
            pull(place, tmp_path / "unsigned", policy=policy)
        attach(unsigned, sign(unsigned, key), replace=True)
        again = push(Bundle.open(root), place)
        assert again.digest == made.digest
        _, standing = pull(place, tmp_path / "got", policy=policy)
        assert (standing.state, standing.key) == ("signed", "key.pub")
        assert files_of(tmp_path / "got") == files_of(root)
        bill = json.loads(registry.manifests[made.referrers["application/vnd.cyclonedx+json"]])
        assert bill["subject"]["digest"] == made.digest
        assert registry.blobs[bill["layers"][0]["digest"]] == BILL
    assert not (tmp_path / "unsigned").exists()


def test_two_files_of_one_content_are_one_blob(tmp_path, place):
    write_tiny_bundle(tmp_path / "twins", {**CONTENT, "evidence/a": b"same", "evidence/b": b"same"})
    push(Bundle.open(tmp_path / "twins"), place)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(tmp_path / "twins")


def test_blobs_are_named_by_their_bytes():
    assert Blob.of(b"{}").digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_damaged_bundle_is_not_pushed(root, registry, place):
    (root / "evidence/large").write_bytes(LARGE[:-1] + b"x")
    with pytest.raises(IntegrityError, match="evidence/large: sha256"):
        push(Bundle.open(root), place)
    assert registry.manifests == {}


def test_a_digest_is_nothing_to_push_to(root, registry, pushed):
    with pytest.raises(UsageError, match="pushed to a tag"):
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny@{pushed.digest}"))


def test_a_destination_that_is_taken_is_refused_before_anything_is_asked(registry, place, tmp_path):
    (tmp_path / "got").mkdir()
    with pytest.raises(OutputError, match="exists"):
        pull(place, tmp_path / "got")
    assert registry.requests == []


def test_the_command_line_pushes_and_pulls(root, registry, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    address = f"oci://{registry.host}/team/tiny:2"
    assert main(["push", "bundle", address, "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert main(["pull", f"oci://{registry.host}/team/tiny@{digest}", "-o", "got"]) == 0
    assert "every digest matches, unchecked" in capsys.readouterr().out
    assert main(["pull", address, "-o", "got"]) == 3
    assert main(["pull", f"{address}x", "-o", "other"]) == 3
    assert main(["pull", "http://x/y", "-o", "other"]) == 2
    registry.blobs[LARGE_DIGEST] = LARGE[:-1] + b"x"
    assert main(["pull", address, "-o", "other"]) == 7
    assert not (tmp_path / "other").exists()
