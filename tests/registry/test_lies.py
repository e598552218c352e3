"""A registry that sends something else than was pushed, or says no: a typed error, and nothing is left."""

import dataclasses
import hashlib
import json

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import IntegrityError, RegistryError
from edgekit.registry.artifact import FILE_PATH, MODEL
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import pull, push
from edgekit.spec.manifest import FileEntry

from .faults import LARGE, LARGE_DIGEST, always, getting
from .stand_in_registry import digest_of

LIES = {
    "other bytes": lambda handler: handler.answer(200, LARGE[:-1] + b"x"),
    "more bytes": lambda handler: handler.answer(200, LARGE + b"x"),
    "endless": lambda handler: handler.answer(200, LARGE * 50),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_blob_that_is_not_its_digest_is_refused_and_nothing_is_left(registry, place, pushed, tmp_path, lie):
    registry.faults.append(always(getting(LARGE_DIGEST), LIES[lie]))
    with pytest.raises(IntegrityError, match="the registry sends"):
        pull(place, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert not list((tmp_path / ".got.pull").glob(f"*{LARGE_DIGEST[7:]}*"))


def tampered(registry, pushed, change):
    """Put a changed manifest in the place of the one that was pushed."""
    document = json.loads(registry.manifests[pushed.digest])
    change(document)
    registry.manifests["1"] = json.dumps(document).encode()


def _renamed(document, old, new):
    for layer in document["layers"]:
        if layer["annotations"][FILE_PATH] == old:
            layer["annotations"][FILE_PATH] = new


MANIFESTS = {
    "a file less": (lambda made: made["layers"].pop(), "is missing"),
    "a file twice": (lambda made: made["layers"].append(made["layers"][1]), "appears twice"),
    "no edgekit.json": (lambda made: made["layers"].pop(0), "has no edgekit.json"),
    "a renamed file": (lambda made: _renamed(made, "evidence/large", "evidence/other"), "evidence/large"),
    "a file outside": (lambda made: _renamed(made, "evidence/large", "../../escaped"), "has the part '..'"),
    "an absolute file": (lambda made: _renamed(made, "evidence/large", "/etc/escaped"), "has the part ''"),
    "a signature as a file": (lambda made: _renamed(made, "evidence/large", "model.sig"), "twice"),
    "another size": (lambda made: made["layers"][1].update(size=1), "another digest or size"),
    "a huge size": (lambda made: made["layers"][0].update(size=1 << 41), "over the limit"),
    "a negative size": (lambda made: made["layers"][0].update(size=-1), "outside"),
    "a digest that is a path": (lambda made: made["layers"][1].update(digest="sha256:../../../etc/passwd"), "digest"),
    "another hash": (lambda made: made["layers"][1].update(digest="md5:" + "0" * 32), "digest"),
    "a compressed layer": (lambda made: made["layers"][1].update(mediaType=f"{MODEL}.tar+gzip"), "raw layer"),
    "another artifact": (lambda made: made.update(artifactType="application/vnd.example"), "artifactType"),
    "an index": (lambda made: made.update(mediaType="application/vnd.oci.image.index.v1+json"), "mediaType"),
    "no layers": (lambda made: made.update(layers=[]), "has no edgekit.json"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_not_the_bundles_is_refused(registry, place, pushed, tmp_path, name):
    change, about = MANIFESTS[name]
    tampered(registry, pushed, change)
    with pytest.raises((IntegrityError, RegistryError)) as caught:
        pull(place, tmp_path / "got")
    assert about in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_a_path_outside_is_refused_even_where_edgekit_json_lists_it(root, registry, place, tmp_path):
    pushed = push(Bundle.open(root), place)
    entry = FileEntry("../escaped", len(LARGE), hashlib.sha256(LARGE).hexdigest())
    manifest = Bundle.open(root).manifest
    listed = dataclasses.replace(manifest, files=(*manifest.files, entry)).to_json()
    registry.blobs[digest_of(listed)] = listed

    def change(made):
        made["layers"][0].update(digest=digest_of(listed), size=len(listed))
        layer = {
            "mediaType": "x.raw",
            "digest": LARGE_DIGEST,
            "size": len(LARGE),
            "annotations": {FILE_PATH: "../escaped"},
        }
        made["layers"].append(layer)

    tampered(registry, pushed, change)
    with pytest.raises(IntegrityError, match=r"\.\./escaped"):
        pull(place, tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_a_manifest_by_digest_must_be_that_one(registry, place, pushed, tmp_path):
    registry.manifests[pushed.digest] += b" "
    with pytest.raises(IntegrityError, match="asked for the manifest"):
        pull(Reference.parse(f"oci://{registry.host}/team/tiny@{pushed.digest}"), tmp_path / "got")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"schemaVersion": 1}', b" " * (5 << 20)])
def test_a_manifest_that_is_none_is_refused(registry, place, pushed, tmp_path, data):
    registry.manifests["1"] = data
    with pytest.raises((IntegrityError, RegistryError)):
        pull(place, tmp_path / "got")


def test_a_registry_that_says_no_is_named_with_what_it_says(root, registry, place, tmp_path):
    with pytest.raises(RegistryError, match="answers 404") as caught:
        pull(place, tmp_path / "got")
    assert "tag" in caught.value.hint
    said = json.dumps({"errors": [{"code": "DENIED", "message": "not \x1b[31myours"}]}).encode()
    registry.faults.append(always(lambda handler: handler.command == "POST", lambda handler: handler.answer(403, said)))
    with pytest.raises(RegistryError, match=r"answers 403 \(not \?\[31myours\)") as caught:
        push(Bundle.open(root), place)
    assert "log in" in caught.value.hint
