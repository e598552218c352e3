"""Push and pull against a registry that breaks, lies and redirects: whole and verified, or a typed error."""

import base64
import hashlib
import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.bundle.folder import list_files
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signing import attach, sign
from edgekit.bundle.trust import Trust, public_key
from edgekit.cli import main
from edgekit.errors import InputError, IntegrityError, OutputError, RegistryError, UsageError
from edgekit.registry import blobs
from edgekit.registry.artifact import FILE_PATH, MODEL, Blob
from edgekit.registry.credentials import Credentials, find_credentials
from edgekit.registry.reference import Reference, is_loopback
from edgekit.registry.transfer import pull, push

from .stand_in_registry import digest_of, serve
from .test_signing import public_pem
from .tiny_bundle import CONTENT, write_tiny_bundle

LARGE = bytes(range(256)) * 800
BILL = b'{"bomFormat": "CycloneDX"}'


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


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def once(test, act):
    """A fault that happens the first time that ``test`` holds of a request."""
    left = [act]

    def fault(handler):
        if left and test(handler):
            left.pop()(handler)
            return True
        return False

    return fault


def always(test, act):
    def fault(handler):
        if test(handler):
            act(handler)
            return True
        return False

    return fault


def getting(digest):
    return lambda handler: handler.command == "GET" and handler.path.endswith(digest)


LARGE_DIGEST = digest_of(LARGE)


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


def test_a_pull_goes_on_where_the_connection_broke(root, registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    ranges = []
    registry.faults.append(
        lambda handler: ranges.append(handler.headers.get("Range")) if getting(LARGE_DIGEST)(handler) else None
    )
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    assert len(ranges) == 1
    assert 0 < int(ranges[0].removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_a_pull_goes_on_where_an_earlier_run_was_stopped(root, registry, place, pushed, tmp_path):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 0)))
    with pytest.raises(RegistryError, match="the connection failed 5 times"):
        pull(place, tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".got.pull", "bundle"]
    registry.faults.clear()
    registry.requests.clear()
    part = tmp_path / f".got.pull/{LARGE_DIGEST.replace(':', '-')}.part"
    part.write_bytes(LARGE[:70_000])
    ranges = []
    note = lambda handler: ranges.append(handler.headers.get("Range")) if getting(LARGE_DIGEST)(handler) else None  # noqa: E731
    registry.faults.append(note)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    listed = Bundle.open(root).manifest_sha256
    assert len(registry.asked("GET", listed)) == 1  # to read it; the copy of the earlier run is used
    assert ranges == ["bytes=70000-"]
    assert not (tmp_path / ".got.pull").exists()


def test_what_an_earlier_run_left_damaged_is_fetched_anew(root, registry, place, pushed, tmp_path):
    (tmp_path / ".got.pull").mkdir()
    name = LARGE_DIGEST.replace(":", "-")
    (tmp_path / ".got.pull" / f"{name}.part").write_bytes(b"x" * 70_000)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    (tmp_path / ".again.pull").mkdir()
    (tmp_path / ".again.pull" / name).write_bytes(LARGE[:-1] + b"x")
    pull(place, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(root)


def test_a_registry_that_ignores_ranges_is_read_from_the_start(root, registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(200, LARGE)))
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)


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


@pytest.mark.parametrize("body", [b"", LARGE[:1000]], ids=["empty", "short"])
def test_a_blob_that_ends_early_is_asked_for_again_and_given_up(registry, place, pushed, tmp_path, body):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(200, body)))
    with pytest.raises(RegistryError, match="failed 5 times"):
        pull(place, tmp_path / "got")


def test_a_wrong_range_is_refused(registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    wrong = lambda handler: handler.answer(206, LARGE, Content_Range=f"bytes 0-{len(LARGE) - 1}/{len(LARGE)}")  # noqa: E731
    registry.faults.append(always(getting(LARGE_DIGEST), wrong))
    with pytest.raises(RegistryError, match="asked for byte"):
        pull(place, tmp_path / "got")


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
    import dataclasses

    from edgekit.spec.manifest import FileEntry

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


def test_a_push_goes_on_where_the_connection_broke(root, registry, place, tmp_path):
    def hang_up(handler):
        handler.registry.uploads["upload-0"] += b""
        handler.close_connection = True
        handler.connection.close()

    registry.faults.append(once(lambda handler: handler.command == "PATCH" and len(handler.body) > 60_000, hang_up))
    registry.faults.append(once(lambda handler: handler.command == "PUT", hang_up))
    registry.faults.append(once(lambda handler: handler.command == "POST", hang_up))
    push(Bundle.open(root), place)
    assert registry.blobs[LARGE_DIGEST] == LARGE
    pull(place, tmp_path / "got")


def test_a_half_taken_piece_is_sent_on_from_there(root, registry, place):
    def half(handler):
        name = handler.path.split("?")[0].rsplit("/", 1)[1]
        handler.registry.uploads[name] += handler.body[:1000]
        handler.close_connection = True
        handler.connection.close()

    registry.faults.append(once(lambda handler: handler.command == "PATCH" and len(handler.body) > 60_000, half))
    push(Bundle.open(root), place)
    assert registry.blobs[LARGE_DIGEST] == LARGE
    assert len(registry.asked("GET", "uploads")) == 1


def test_a_damaged_bundle_is_not_pushed(root, registry, place):
    (root / "evidence/large").write_bytes(LARGE[:-1] + b"x")
    with pytest.raises(IntegrityError, match="evidence/large: sha256"):
        push(Bundle.open(root), place)
    assert registry.manifests == {}


def test_a_registry_that_says_no_is_named_with_what_it_says(root, registry, place, tmp_path):
    with pytest.raises(RegistryError, match="answers 404") as caught:
        pull(place, tmp_path / "got")
    assert "tag" in caught.value.hint
    said = json.dumps({"errors": [{"code": "DENIED", "message": "not \x1b[31myours"}]}).encode()
    registry.faults.append(always(lambda handler: handler.command == "POST", lambda handler: handler.answer(403, said)))
    with pytest.raises(RegistryError, match=r"answers 403 \(not \?\[31myours\)") as caught:
        push(Bundle.open(root), place)
    assert "log in" in caught.value.hint


def test_no_registry_at_all_is_a_typed_error(tmp_path):
    with pytest.raises(RegistryError, match="failed 5 times"):
        pull(Reference.parse("oci://127.0.0.1:1/team/tiny:1"), tmp_path / "got")


def docker_config(tmp_path, document):
    (tmp_path / "home/.docker").mkdir(parents=True, exist_ok=True)
    (tmp_path / "home/.docker/config.json").write_text(json.dumps(document))


def auth(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("bearer", ["", "a-token"])
def test_credentials_of_docker_are_used(root, tmp_path, bearer):
    with serve(user="me", password="secret", bearer=bearer) as registry:  # noqa: S106
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        with pytest.raises(RegistryError, match="answers 401"):
            push(Bundle.open(root), place)
        docker_config(tmp_path, {"auths": {registry.host: auth("me", "secret")}})
        push(Bundle.open(root), place)
        pull(place, tmp_path / "got")
        kinds = {kind.split()[0] for _, path, kind in registry.requests if kind and "/token" not in path}
        assert kinds == ({"Bearer"} if bearer else {"Basic"})


def test_a_token_is_fetched_without_credentials_where_none_are_known(root, tmp_path):
    with serve(bearer="for-everybody") as registry:
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        push(Bundle.open(root), place)
        assert {given for _, path, given in registry.asked("GET", "/token")} == {None}


def test_an_identity_token_is_exchanged(root, tmp_path):
    with serve(user="me", password="identity", bearer="a-token") as registry:  # noqa: S106
        docker_config(tmp_path, {"auths": {registry.host: {"identitytoken": "identity"}}})
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny:1"))
        assert registry.asked("POST", "/token")


def test_credentials_are_not_sent_to_another_host(root, tmp_path):
    with serve() as storage, serve(user="me", password="secret") as registry:  # noqa: S106
        docker_config(tmp_path, {"auths": {registry.host: auth("me", "secret")}})
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        push(Bundle.open(root), place)
        storage.blobs.update(registry.blobs)
        registry.faults.append(
            lambda handler: (
                getting(LARGE_DIGEST)(handler)
                and handler.headers.get("Authorization")
                and (handler.answer(307, Location=f"http://{storage.host}{handler.path}") or True)
            )
        )
        pull(place, tmp_path / "got")
        assert files_of(tmp_path / "got") == files_of(root)
        assert len(storage.requests) == 1
        assert storage.requests[0][2] is None


def test_endless_redirects_are_refused(registry, place, pushed, tmp_path):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(307, Location=handler.path)))
    with pytest.raises(RegistryError, match="more than 5 times"):
        pull(place, tmp_path / "got")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_redirects_to_what_is_no_http_are_refused(registry, place, pushed, tmp_path, target):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(307, Location=target)))
    with pytest.raises(RegistryError, match="redirects to an address"):
        pull(place, tmp_path / "got")


def test_a_token_is_not_asked_for_without_encryption_elsewhere(root, tmp_path):
    with serve(bearer="x", realm="file:///etc/passwd") as registry, pytest.raises(RegistryError, match="encryption"):
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny:1"))


def helper(folder, name, script):
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_credential_helpers_are_asked_in_their_protocol(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    helper(
        tmp_path / "bin", "good", 'read host; test "$1" = get; echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"s\\"}"'
    )
    helper(
        tmp_path / "bin", "token", 'echo "{\\"ServerURL\\":\\"\\",\\"Username\\":\\"<token>\\",\\"Secret\\":\\"t\\"}"'
    )
    helper(tmp_path / "bin", "none", 'echo "credentials not found in native keychain"; exit 1')
    helper(tmp_path / "bin", "broken", "exit 3")
    helper(tmp_path / "bin", "noise", "echo noise")
    docker_config(tmp_path, {"credsStore": "token", "credHelpers": {"a.example": "good", "b.example": "none"}})
    assert find_credentials("a.example") == Credentials("a.example", "s")
    assert find_credentials("b.example") is None
    assert find_credentials("c.example") == Credentials(identity_token="t")  # noqa: S106
    for name in ("broken", "noise", "missing", "../bin/good"):
        docker_config(tmp_path, {"credsStore": name})
        with pytest.raises(InputError, match="credential helper"):
            find_credentials("c.example")


def test_credentials_are_found_where_other_tools_keep_them(tmp_path, monkeypatch):
    assert find_credentials("r.example") is None
    docker_config(tmp_path, {"auths": {"https://r.example": auth("docker", "1:2")}})
    assert find_credentials("r.example") == Credentials("docker", "1:2")
    (tmp_path / "run/containers").mkdir(parents=True)
    (tmp_path / "run/containers/auth.json").write_text(json.dumps({"auths": {"r.example": auth("podman", "2")}}))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert find_credentials("r.example").user == "podman"
    (tmp_path / "explicit.json").write_text(json.dumps({"auths": {"r.example": auth("explicit", "3")}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "explicit.json"))
    found = find_credentials("r.example")
    assert found.user == "explicit"
    assert "3" not in repr(found)
    (tmp_path / "explicit.json").write_text('{"auths": {"r.example": {"auth": "!!"}}}')
    with pytest.raises(InputError, match="not base64"):
        find_credentials("r.example")
    (tmp_path / "explicit.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        find_credentials("r.example")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci://localhost:5000/tiny", ("localhost:5000", "tiny", "latest", "")),
        ("oci://r.example/a/b-c/d__e:v1.0", ("r.example", "a/b-c/d__e", "v1.0", "")),
        (f"oci://[::1]:5000/a@sha256:{'a' * 64}", ("[::1]:5000", "a", "", f"sha256:{'a' * 64}")),
        (f"oci://r.example/a:1@sha256:{'a' * 64}", ("r.example", "a", "", f"sha256:{'a' * 64}")),
    ],
)
def test_references_are_read(text, parts):
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "oci://", "oci://host", "oci:///a", "http://host/a", "oci://host/A", "oci://host/a//b", "oci://host/../a",
     "oci://host/a:", "oci://host/a:-x", "oci://host/a@sha256:zz", "oci://host/a@", "oci://user@host/a",
     "oci://ho st/a", "oci://host/a b",
     "oci://host/a?x=1", "oci://host/a#x", "oci://host:port/a", f"oci://host/{'a' * 256}", "oci://host/a\n"],
)  # fmt: skip
def test_what_is_no_reference_is_a_usage_error(text):
    with pytest.raises(UsageError):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.9.9.9", True), ("[::1]:5000", True),
     ("localhost.example", False), ("127.0.0.1.example", False), ("10.0.0.1", False), ("registry.example:5000", False)],
)  # fmt: skip
def test_plain_http_is_for_this_machine_alone(host, expected):
    assert is_loopback(host) is expected


def test_other_machines_are_asked_with_encryption():
    from edgekit.registry.client import Client

    reference = Reference.parse("oci://registry.example/a:1")
    with Client(reference) as client, Client(reference, plain_http=True) as plain:
        assert client._base == "https://registry.example/v2/a/"
        assert plain._base == "http://registry.example/v2/a/"
        with pytest.raises(RegistryError, match="without encryption"):
            client._checked("http://registry.example/x")


def test_a_destination_that_is_taken_is_refused_before_anything_is_asked(registry, place, tmp_path):
    (tmp_path / "got").mkdir()
    with pytest.raises(OutputError, match="exists"):
        pull(place, tmp_path / "got")
    assert registry.requests == []


def test_a_digest_is_nothing_to_push_to(root, registry, pushed):
    with pytest.raises(UsageError, match="pushed to a tag"):
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny@{pushed.digest}"))


def test_two_files_of_one_content_are_one_blob(tmp_path, place):
    write_tiny_bundle(tmp_path / "twins", {**CONTENT, "evidence/a": b"same", "evidence/b": b"same"})
    push(Bundle.open(tmp_path / "twins"), place)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(tmp_path / "twins")


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


def test_blobs_are_named_by_their_bytes():
    assert Blob.of(b"{}").digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
